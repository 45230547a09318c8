package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Charon is a strongSwan daemon in a node. Its ESP is in user space
// (kernel-libipsec), which lets it see a NAT everywhere: IKE moves to 4500.
type Charon struct {
	*Process
	node *Node
	dir  string
	env  []string
}

// plugins are those that a test needs, kernel-libipsec before kernel-netlink.
const plugins = "random nonce aes sha1 sha2 hmac kdf gcm pem pkcs1 pkcs8 x509 pubkey openssl curve25519 " +
	"constraints revocation kernel-libipsec kernel-netlink socket-default vici"

// StartCharon starts charon-systemd by hand with its own strongswan.conf, vici
// socket and swanctl directory. settings go into the charon section.
func (n *Node) StartCharon(t testing.TB, settings ...string) *Charon {
	t.Helper()
	dir := n.Dir(t, "charon")
	for _, sub := range []string{
		"conf.d", "x509", "x509ca", "x509ocsp", "x509aa", "x509ac", "x509crl", "pubkey",
		"private", "rsa", "ecdsa", "bliss", "pkcs8", "pkcs12",
	} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "vici")
	// Its own retransmissions are quick, so that a case ends soon either way.
	conf := fmt.Sprintf(`charon-systemd {
  load = %s
  plugins {
    vici { socket = unix://%s }
  }
  filelog {
    stderr {
      default = 1
      enc = 1
      ike_name = yes
      flush_line = yes
    }
  }
  retransmit_timeout = 1.0
  retransmit_base = 1.4
  retransmit_tries = 3
  keep_alive = 0
  delete_rekeyed_delay = 1
  %s
}
swanctl {
  load = random aes sha1 sha2 hmac pem pkcs1 pkcs8 x509 pubkey openssl curve25519
}
`, plugins, socket, strings.Join(settings, "\n  "))
	write(t, filepath.Join(dir, "strongswan.conf"), conf)
	c := &Charon{node: n, dir: dir, env: []string{
		"STRONGSWAN_CONF=" + filepath.Join(dir, "strongswan.conf"),
		"SWANCTL_DIR=" + dir,
	}}
	c.Process = n.Start(t, c.env, "/usr/sbin/charon-systemd")
	until(t, "charon's vici socket", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return c
}

// Swanctl runs swanctl against this daemon and returns what it printed.
func (c *Charon) Swanctl(t testing.TB, args ...string) (string, error) {
	t.Helper()
	command := append([]string{"swanctl"}, args...)
	return c.node.Run(t, c.env, append(command, "--uri", "unix://"+filepath.Join(c.dir, "vici"))...)
}

// Load gives the daemon swanctl.conf as its only configuration. files are
// credentials by their place in the swanctl directory, such as x509ca/ca.pem.
// When t ends, its SAs are ended and nothing of it is left.
func (c *Charon) Load(t testing.TB, conf string, files map[string][]byte) {
	t.Helper()
	c.showWhenFailed(t, c.Mark())
	write(t, filepath.Join(c.dir, "swanctl.conf"), conf)
	for name, content := range files {
		path := filepath.Join(c.dir, name)
		write(t, path, string(content))
		t.Cleanup(func() { os.Remove(path) })
	}
	if out, err := c.Swanctl(t, "--load-all", "--clear"); err != nil {
		t.Fatalf("swanctl --load-all: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		for _, sa := range c.SAs(t) {
			// forced: the peer may be gone by now
			_, _ = c.Swanctl(t, "--terminate", "--ike-id", sa.UniqueID, "--force", "--timeout", "2")
		}
	})
}

// SwanSA is an IKE SA in strongSwan's own view.
type SwanSA struct {
	Name, UniqueID string
	State          string // ESTABLISHED, CONNECTING, ...
	Values         map[string]string
	Children       []SwanChild
}

// SwanChild is a Child SA in strongSwan's own view.
type SwanChild struct {
	Name   string
	State  string // INSTALLED, ...
	Values map[string]string
}

// Traffic is what strongSwan says that the Child SA has carried.
func (c SwanChild) Traffic(t testing.TB) (carried Traffic) {
	t.Helper()
	for key, count := range map[string]*uint64{
		"packets-in": &carried.In, "bytes-in": &carried.InOctets,
		"packets-out": &carried.Out, "bytes-out": &carried.OutOctets,
	} {
		var err error
		if *count, err = strconv.ParseUint(c.Values[key], 10, 64); err != nil {
			t.Fatalf("strongSwan's %s: %v", key, err)
		}
	}
	return carried
}

// SAs is swanctl --list-sas.
func (c *Charon) SAs(t testing.TB) []SwanSA {
	t.Helper()
	out, err := c.Swanctl(t, "--list-sas", "--pretty")
	if err != nil {
		t.Fatalf("swanctl --list-sas: %v\n%s", err, out)
	}
	return parseSAs(out)
}

// parseSAs reads the vici messages of swanctl --list-sas --pretty:
//
//	list-sa event {
//	  office {
//	    uniqueid = 1
//	    child-sas {
//	      office-1 {
//	        state = INSTALLED
//	        local-ts = [
//	          10.8.1.0/24
//	        ]
//
// Of a list the last item is kept: no case has more than one.
func parseSAs(text string) []SwanSA {
	var sas []SwanSA
	var path []string
	var list string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if section, ok := strings.CutSuffix(line, " {"); ok {
			path = append(path, section)
			switch {
			case len(path) == 2 && path[0] == "list-sa event":
				sas = append(sas, SwanSA{Name: section, Values: map[string]string{}})
			case len(path) == 4 && path[2] == "child-sas":
				sa := &sas[len(sas)-1]
				sa.Children = append(sa.Children, SwanChild{Values: map[string]string{}})
			}
			continue
		}
		if line == "}" {
			path = path[:max(0, len(path)-1)]
			continue
		}
		if value, ok := strings.CutSuffix(line, " = ["); ok {
			list = value // its items follow, a line each, up to a ]
			continue
		}
		key, value, ok := strings.Cut(line, " = ")
		switch {
		case line == "]":
			list = ""
		case list != "":
			key, value, ok = list, line, true
		}
		if !ok || len(sas) == 0 {
			continue
		}
		switch sa := &sas[len(sas)-1]; len(path) {
		case 2:
			sa.Values[key] = value
		case 4:
			sa.Children[len(sa.Children)-1].Values[key] = value
		}
	}
	for i := range sas {
		sa := &sas[i]
		sa.UniqueID, sa.State = sa.Values["uniqueid"], sa.Values["state"]
		for j := range sa.Children {
			child := &sa.Children[j]
			child.Name, child.State = child.Values["name"], child.Values["state"]
		}
	}
	return sas
}

// AwaitUp waits until exactly one SA of the connection is established with one
// installed child, and returns it.
func (c *Charon) AwaitUp(t testing.TB, name string) SwanSA {
	t.Helper()
	var up SwanSA
	until(t, "one established SA of "+name+" at strongSwan", func() bool {
		sas := c.SAs(t)
		if len(sas) != 1 || sas[0].Name != name || sas[0].State != "ESTABLISHED" {
			return false
		}
		up = sas[0]
		return len(up.Children) == 1 && up.Children[0].State == "INSTALLED"
	})
	return up
}

// AwaitNone waits until strongSwan has no SA at all.
func (c *Charon) AwaitNone(t testing.TB) {
	t.Helper()
	until(t, "strongSwan to have no SA", func() bool { return len(c.SAs(t)) == 0 })
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
