package interop

import (
	"fmt"
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
	swan            string       // more lines of strongSwan's connection
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

// usual is the profile of the cases that are not about suites.
var usual = profile{ike: "aes256gcm16-prfsha256-x25519", esp: "aes256gcm16"}

// ourGateway is gateway.yaml for a gateway at n.
func (p profile) ourGateway(n *Node) string {
	return p.yaml(fmt.Sprintf("listen: [%s]\n%s%s", n.Addr, quick, p.top), "",
		side{gatewayID, p.gateway}, side{"'*@example.org'", p.client}, gatewayInner, "10.8.0.0/16")
}

// ourClient is client.yaml for a client of the gateway at n.
func (p profile) ourClient(n *Node) string {
	return p.yaml(quick, "    gateway: "+n.Addr.String()+"\n",
		side{clientID, p.client}, side{gatewayID, p.gateway}, clientInner, gatewayInner)
}

type side struct {
	id   string
	cert *Certificate
}

func (p profile) yaml(top, address string, local, remote side, localTS, remoteTS string) string {
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
    local_ts: [%s]
    remote_ts: [%s]
%s`, top, address, auth, p.ike, p.esp, localTS, remoteTS, indent(p.more, "    "))
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
	c.Load(t, p.swanctl(c, "%any", side{gatewayID, p.gateway}, side{"*@example.org", p.client}, gatewayInner, "10.8.0.0/16"),
		p.swanFiles(t, p.gateway, p.client))
}

// swanClient gives strongSwan at c the side of a client of the gateway at n.
func (p profile) swanClient(t testing.TB, c *Charon, n *Node) {
	t.Helper()
	c.Load(t, p.swanctl(c, n.Addr.String(), side{clientID, p.client}, side{gatewayID, p.gateway}, clientInner, gatewayInner),
		p.swanFiles(t, p.client, p.gateway))
}

func (p profile) swanctl(c *Charon, remoteAddr string, local, remote side, localTS, remoteTS string) string {
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
      }
    }
  }
}
%s`, c.node.Addr, remoteAddr, p.ike, indent(p.swan, "    "), auth, local.id, certs, auth, remote.id, localTS, remoteTS, p.esp, secrets)
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

// espSuites are those that our traffic goes through with others, one of each
// kind, written as either side's configuration does.
var espSuites = []string{"aes256gcm16", "chacha20poly1305", "aes128-sha256"}
