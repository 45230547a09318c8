package interop

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
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
	link  string
	key   *ecdh.PrivateKey
	Inner string
}

// wireguardPort is where either of them listens.
const wireguardPort = 51820

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
// can be told its peer. The name of its link holds our pid: that of its socket
// does, and all of them are in one directory.
func (n *Node) StartWireGuard(t testing.TB, binary, inner string, mtu int) *WireGuard {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &WireGuard{node: n, key: key, Inner: inner,
		link: fmt.Sprintf("wg%d-%d", os.Getpid(), n.Addr.As4()[3])}
	w.Process = n.Start(t, []string{"LOG_LEVEL=error"}, binary, "--foreground", w.link)
	until(t, "wireguard-go's socket", func() bool {
		conn, err := net.Dial("unix", w.socket())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	links(t,
		"-n "+n.name+" addr add "+inner+"/24 dev "+w.link,
		fmt.Sprintf("-n %s link set %s mtu %d up", n.name, w.link, mtu))
	return w
}

func (w *WireGuard) socket() string { return filepath.Join("/var/run/wireguard", w.link+".sock") }

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
