package udptest

import (
	"errors"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
)

// Ports below those that systems give to who asks for any, and above the known.
const firstFree, endFree = 10_000, 32_768

// FreePorts are two UDP ports of this machine that nobody has. Nobody is given
// them either while a test has its gateway dead, whatever else runs beside.
func FreePorts(t testing.TB) (ike, nat uint16) {
	t.Helper()
	var ports [2]uint16
	for i := range ports {
		for ports[i] == 0 {
			c, err := net.ListenUDP("udp", &net.UDPAddr{Port: firstFree + rand.IntN(endFree-firstFree)})
			if errors.Is(err, syscall.EADDRINUSE) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ports[i] = uint16(c.LocalAddr().(*net.UDPAddr).Port)
		}
	}
	return ports[0], ports[1]
}
