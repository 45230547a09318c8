package storm

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"time"

	"blackswan/internal/child"
	"blackswan/internal/udp"
)

// Echoes of UDP datagrams are what a resume is measured by: the kernel's part
// of a handshake of two round trips, on this machine and at this moment.

// EchoCommand is the argument that makes our own program call Echo.
const EchoCommand = "storm-echo"

const (
	echoOctets = 300
	echoes     = 100_000
	echoWindow = DefaultAtOnce // under way at a time
)

// Echo sends back what comes to a port of the loopback interface, as a gateway
// sends its answers, until ctx ends. It logs the port.
func Echo(ctx context.Context, log *slog.Logger) error {
	port, err := udp.Listen(udp.Config{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), ReceiveBuffer: 8 << 20})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { port.Close() })
	defer stop()
	ike, _ := port.Ports()
	log.Info("listening", "address", ike)
	for b := range port.Read() {
		for _, m := range b.Messages {
			port.Queue(m)
		}
		port.Recycle(b)
		_ = port.Flush() // what is lost is counted as an echo: it was received
	}
	return nil
}

// echoCPU is the CPU time that two echoes cost a process of their own, in
// microseconds.
func (s *storm) echoCPU(ctx context.Context) (float64, error) {
	var said struct{ Address netip.AddrPort }
	p, err := child.Watch("echo", s.Command(ctx, EchoCommand, "--json"), s.cores.give(), "listening", &said)
	if err != nil {
		return 0, fmt.Errorf("storm: %w", err)
	}
	defer p.Kill()
	port, err := udp.Listen(udp.Config{Addr: netip.IPv4Unspecified(), ReceiveBuffer: 8 << 20})
	if err != nil {
		return 0, fmt.Errorf("storm: %w", err)
	}
	defer port.Close()
	process := Process(strconv.Itoa(p.PID()))
	before := process.usage()
	if err := bounce(ctx, port, said.Address, spread(loopback)); err != nil {
		return 0, err
	}
	after := process.usage()
	return rounded(2*float64((after.cpu-before.cpu).Microseconds())/echoes, 2), nil
}

// bounce sends echoes from many addresses and takes them back.
func bounce(ctx context.Context, port udp.Port, to netip.AddrPort, from addresses) error {
	sent, back := 0, 0
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	data := make([]byte, echoOctets)
	for back < echoes {
		for ; sent < echoes && sent-back < echoWindow; sent++ {
			port.Queue(udp.Message{Local: netip.AddrPortFrom(from.of(sent), 0), Remote: to, Data: data})
		}
		_ = port.Flush()
		select {
		case b := <-port.Read():
			back += len(b.Messages)
			port.Recycle(b)
		case <-late.C:
			return fmt.Errorf("storm: %d of %d echoes came back", back, echoes)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
