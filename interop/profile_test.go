package interop

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// profile is the connection "office" between the client client@example.org and
// the gateway gw.example.org, as either side's configuration. Its suites are
// written alike in ours and in strongSwan's.
type profile struct {
	ike, esp        string
	gateway, client *Certificate // both nil: a shared key
	top             string       // more lines of our gateway's YAML, at the top
	more            string       // more lines of our YAML, in the connection
	timers          string       // our patience; nothing: quick
	swan            string       // more lines of strongSwan's connection
	swanChild       string       // and of its Child SA
	carries         bool         // its Child SAs carry traffic, of both IP versions
	full            bool         // they carry everything: a full tunnel
	anybody         bool         // the gateway's configuration names no networks of its clients
	encap           string       // when ESP of ours goes in UDP; nothing: always
}

const (
	gatewayID    = "gw.example.org"
	clientID     = "client@example.org"
	gatewayInner = "10.7.0.0/16"
	clientInner  = "10.8.1.0/24"
	secret       = "a secret of the test"
)

// quick makes our patience short, so that a case about silence ends soon.
const quick = `timers:
  retry: {initial: 1s, max: 2s, tries: 5}
  liveness: {initial: 500ms, max: 1s, tries: 5}
`

// hasty repeats at once what was lost: nothing on the way is slow here.
const hasty = `timers:
  retry: {initial: 50ms, max: 100ms, tries: 50}
`

// usual is the profile of the cases that are not about suites.
var usual = profile{ike: "aes256gcm16-prfsha256-x25519", esp: "aes256gcm16"}

const (
	gatewayInner6 = "fd07::/64"
	clientInner6  = "fd08:1::/64"
)

// Addresses inside the tunnel, IPv4 and IPv6.
var (
	ourGatewayInner  = [2]string{"10.7.0.2", "fd07::2"}
	ourClientInner   = [2]string{"10.8.1.2", "fd08:1::2"}
	swanGatewayInner = [2]string{"10.7.0.1", "fd07::1"}
	swanClientInner  = [2]string{"10.8.1.1", "fd08:1::1"}
)

// carrying is p with traffic.
func (p profile) carrying() profile {
	p.carries = true
	return p
}

// selectors are those of the gateway, of all its clients and of one client.
func (p profile) selectors() (gateway, clients, client []string) {
	switch {
	case p.anybody:
		return []string{gatewayInner, gatewayInner6}, []string{"0.0.0.0/0", "::/0"}, []string{clientInner, clientInner6}
	case p.full:
		return []string{"0.0.0.0/0", "::/0"}, []string{"10.8.0.0/16", "fd08::/16"}, []string{clientInner, clientInner6}
	case p.carries:
		return []string{gatewayInner, gatewayInner6}, []string{"10.8.0.0/16", "fd08::/16"}, []string{clientInner, clientInner6}
	}
	return []string{gatewayInner}, []string{"10.8.0.0/16"}, []string{clientInner}
}

// list is a list in YAML. goccy takes an IPv6 address for a map, unless quoted.
func list(items ...string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = strconv.Quote(item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// tunnel says what our end does with traffic.
func (p profile) tunnel(more string) string {
	if !p.carries {
		return "traffic: off\n"
	}
	return fmt.Sprintf("traffic: on\ntunnel: {encap: %s%s}\n", cmp.Or(p.encap, "always"), more)
}

// ourGateway is gateway.yaml for a gateway at n.
func (p profile) ourGateway(n *Node) string {
	gateway, clients, _ := p.selectors()
	top := fmt.Sprintf("listen: [%s]\n%s%s%s", n.Addr, cmp.Or(p.timers, quick), p.top,
		p.tunnel(", addresses: "+list(ourGatewayInner[:]...)))
	return p.yaml(top, "", side{gatewayID, p.gateway}, side{"'*@example.org'", p.client}, gateway, clients)
}

// ourClient is client.yaml for a client of the gateway at n.
func (p profile) ourClient(n *Node) string {
	gateway, _, client := p.selectors()
	place := "    gateway: " + n.Addr.String() + "\n"
	if p.carries {
		place += "    addresses: " + list(ourClientInner[:]...) + "\n"
	}
	return p.yaml(cmp.Or(p.timers, quick)+p.tunnel(""), place, side{clientID, p.client}, side{gatewayID, p.gateway}, client, gateway)
}

type side struct {
	id   string
	cert *Certificate
}

func (p profile) yaml(top, address string, local, remote side, localTS, remoteTS []string) string {
	auth := fmt.Sprintf("    local: {id: %s, auth: psk}\n    remote: {id: %s, auth: psk}\n    psk: %q\n",
		local.id, remote.id, secret)
	if local.cert != nil {
		auth = fmt.Sprintf("    local: {id: %s, auth: cert, cert: own.pem, key: own.key}\n"+
			"    remote: {id: %s, auth: cert, ca: [ca.pem]}\n", local.id, remote.id)
	}
	return fmt.Sprintf(`%sconnections:
  - name: office
%s%s    ike: [%s]
    esp: [%s]
    local_ts: %s
    remote_ts: %s
%s`, top, address, auth, p.ike, p.esp, list(localTS...), list(remoteTS...), indent(p.more, "    "))
}

// ourFiles are the credentials beside our YAML.
func (p profile) ourFiles(t testing.TB, own, peer *Certificate) map[string][]byte {
	if own == nil {
		return nil
	}
	return map[string][]byte{
		"own.pem": own.ChainPEM(), "own.key": own.KeyPEM(t), "ca.pem": peer.Root().CertPEM(),
	}
}

// swanGateway gives strongSwan at c the gateway's side.
func (p profile) swanGateway(t testing.TB, c *Charon) {
	t.Helper()
	c.Load(t, p.swanGatewayConf(c), p.swanFiles(t, p.gateway, p.client))
}

func (p profile) swanGatewayConf(c *Charon) string {
	gateway, clients, _ := p.selectors()
	return p.swanctl(c, "%any", side{gatewayID, p.gateway}, side{"*@example.org", p.client}, gateway, clients)
}

// swanClient gives strongSwan at c the side of a client of the gateway at n.
func (p profile) swanClient(t testing.TB, c *Charon, n *Node) {
	t.Helper()
	c.Load(t, p.swanClientConf(c, n), p.swanFiles(t, p.client, p.gateway))
}

func (p profile) swanClientConf(c *Charon, n *Node) string {
	gateway, _, client := p.selectors()
	return p.swanctl(c, n.Addr.String(), side{clientID, p.client}, side{gatewayID, p.gateway}, client, gateway)
}

func (p profile) swanctl(c *Charon, remoteAddr string, local, remote side, localTS, remoteTS []string) string {
	auth, certs, secrets := "psk", "", fmt.Sprintf("secrets {\n  ike-office {\n    secret = %q\n  }\n}\n", secret)
	if local.cert != nil {
		auth, certs, secrets = "pubkey", "certs = own.pem", ""
	}
	return fmt.Sprintf(`connections {
  office {
    version = 2
    local_addrs = %s
    remote_addrs = %s
    proposals = %s
    rekey_time = 0
    encap = no
%s
    local {
      auth = %s
      id = %s
      %s
    }
    remote {
      auth = %s
      id = %s
    }
    children {
      office {
        local_ts = %s
        remote_ts = %s
        esp_proposals = %s
        rekey_time = 0
%s      }
    }
  }
}
%s`, c.node.Addr, remoteAddr, p.ike, indent(p.swan, "    "), auth, local.id, certs, auth, remote.id,
		strings.Join(localTS, ","), strings.Join(remoteTS, ","), p.esp, indent(p.swanChild, "        "), secrets)
}

func (p profile) swanFiles(t testing.TB, own, peer *Certificate) map[string][]byte {
	if own == nil {
		return nil
	}
	files := map[string][]byte{
		"x509/own.pem": own.CertPEM(), "private/own.pem": own.KeyPEM(t), "x509ca/peer.pem": peer.Root().CertPEM(),
	}
	for i, c := 0, own.issuer; c != nil && c.issuer != nil; i, c = i+1, c.issuer {
		files[fmt.Sprintf("x509ca/between%d.pem", i)] = c.CertPEM()
	}
	return files
}

func indent(lines, by string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString(by + line)
	}
	if b.Len() > 0 && !strings.HasSuffix(lines, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}
