package interop

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// WireGuard is a wireguard-go in a node: the judge of our speed, built from
// the version that go.mod names.
type WireGuard struct {
	*Process
	node  *Node
	key   *ecdh.PrivateKey
	Inner string
}

const (
	wireguardLink = "wg0"
	wireguardPort = 51820
)

// buildWireGuard builds wireguard-go and returns where it is.
func (l *Lab) buildWireGuard(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(l.dir, "wireguard-go")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "golang.zx2c4.com/wireguard")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// StartWireGuard starts wireguard-go with an inner address and waits until it
// can be told its peer. It sees a /run of its own: its socket is there.
func (n *Node) StartWireGuard(t testing.TB, binary, inner string, mtu int) *WireGuard {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &WireGuard{node: n, key: key, Inner: inner}
	w.Process = n.Start(t, []string{"LOG_LEVEL=error"},
		"sh", "-c", `mount -t tmpfs tmpfs /run && exec "$@"`, "sh", binary, "--foreground", wireguardLink)
	until(t, "wireguard-go's socket", func() bool {
		conn, err := net.Dial("unix", w.socket())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	links(t,
		"-n "+n.name+" addr add "+inner+"/24 dev "+wireguardLink,
		fmt.Sprintf("-n %s link set %s mtu %d up", n.name, wireguardLink, mtu))
	return w
}

func (w *WireGuard) socket() string {
	return fmt.Sprintf("/proc/%d/root/run/wireguard/%s.sock", w.cmd.Process.Pid, wireguardLink)
}

// Meet tells it its one peer.
func (w *WireGuard) Meet(t testing.TB, peer *WireGuard) {
	t.Helper()
	conn, err := net.Dial("unix", w.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "set=1\nprivate_key=%s\nlisten_port=%d\npublic_key=%s\nendpoint=%s:%d\nallowed_ip=%s/32\n\n",
		hex.EncodeToString(w.key.Bytes()), wireguardPort, hex.EncodeToString(peer.key.PublicKey().Bytes()),
		peer.node.Addr, wireguardPort, peer.Inner)
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil && err != io.EOF || !strings.HasPrefix(string(answer[:n]), "errno=0\n") {
		t.Fatalf("wireguard-go answers %q, %v", answer[:n], err)
	}
}
