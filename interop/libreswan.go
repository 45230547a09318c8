package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// trixie is the Debian 13 folder that setup.sh has made.
func trixie() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "blackswan", "trixie-libreswan-5.2-1")
}

// Pluto is a libreswan daemon in a node, its programs from the Debian 13
// folder and everything that it writes in a directory of the lab, which it
// sees as /mnt.
type Pluto struct {
	*Process
	node *Node
	dir  string
}

// StartPluto starts pluto with these lines of ipsec.conf and ipsec.secrets and
// adds the named connections. The kernel has no ESP: IKE SAs come up, Child
// SAs fail.
func (n *Node) StartPluto(t testing.TB, conf, secrets string, connections ...string) *Pluto {
	t.Helper()
	if _, err := os.Stat(trixie()); err != nil {
		t.Fatal("no libreswan folder: run interop/setup.sh")
	}
	p := &Pluto{node: n, dir: n.Dir(t, "pluto")}
	if err := os.Mkdir(filepath.Join(p.dir, "nss"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(p.dir, "ipsec.conf"), conf)
	write(t, filepath.Join(p.dir, "ipsec.secrets"), secrets)
	n.MustRun(t, nil, p.inside("certutil", "-N", "-d", "sql:/mnt/nss", "--empty-password")...)
	p.start(t, connections)
	return p
}

func (p *Pluto) start(t testing.TB, connections []string) {
	t.Helper()
	p.Process = p.node.Start(t, nil, p.inside("/usr/libexec/ipsec/pluto", "--nofork", "--stderrlog",
		"--config", "/mnt/ipsec.conf", "--rundir", "/mnt", "--nssdir", "/mnt/nss", "--dumpdir", "/mnt",
		"--secretsfile", "/mnt/ipsec.secrets", "--ipsecdir", "/mnt", "--nhelpers", "0")...)
	p.Await(t, 0, `listening for IKE messages|adding UDP interface eth0.*4500`)
	p.Await(t, 0, `loading secrets`)
	p.log.forget() // a page of algorithms
	for _, connection := range connections {
		p.node.MustRun(t, nil, p.inside("/usr/libexec/ipsec/addconn", "--ctlsocket", "/mnt/pluto.ctl",
			"--config", "/mnt/ipsec.conf", connection)...)
	}
}

// Restart kills the daemon and starts it anew: it has forgotten its SAs, the
// tickets that it held, and the key of those that it gave.
func (p *Pluto) Restart(t testing.TB, connections ...string) {
	t.Helper()
	p.Kill()
	p.start(t, connections)
}

// Whack tells the daemon something and returns what it answered.
func (p *Pluto) Whack(t testing.TB, args ...string) string {
	t.Helper()
	out, _ := p.node.Run(t, nil, p.inside("timeout", append([]string{"8", "/usr/libexec/ipsec/whack", "--rundir", "/mnt"}, args...)...)...)
	return out
}

// Initiate begins the connection and does not wait: without ESP in the kernel
// libreswan would try its Child SA for ever. Await tells what came of it.
func (p *Pluto) Initiate(t testing.TB, connection string) {
	t.Helper()
	p.Whack(t, "--asynchronous", "--initiate", "--name", connection)
}

// Suspend takes the connection down and keeps its ticket, without a word to
// the peer (impair send_no_delete).
func (p *Pluto) Suspend(t testing.TB, connection string) {
	t.Helper()
	mark := p.Mark()
	p.Whack(t, "--suspend", "--name", connection)
	p.Await(t, mark, `suspending connection`)
}

// inside makes a command one of the Debian 13 folder. ip netns exec has given
// it a mount namespace of its own, so the mount is gone when it ends.
func (p *Pluto) inside(command string, args ...string) []string {
	const enter = `mount --bind "$1" "$2/mnt" && mount -t proc proc "$2/proc" && shift && exec chroot "$@"`
	return append([]string{"sh", "-c", enter, "sh", p.dir, trixie(), command}, args...)
}

// conn makes a conn section of ipsec.conf from lines like "left=10.9.0.1".
func conn(name string, lines ...string) string {
	return fmt.Sprintf("conn %s\n\t%s\n", name, strings.Join(lines, "\n\t"))
}
