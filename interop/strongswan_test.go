package interop

import (
	"crypto"
	"encoding/hex"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// field is the lab as the cases see it: our gateway and client, and strongSwan.
// One charon serves all cases with its defaults.
type field struct {
	gateway, client, swan *Node
	charon                *Charon
}

var theField struct {
	sync.Once
	field
}

func meetSwan(t *testing.T) *field {
	t.Helper()
	theField.Do(func() {
		lasting := lab.Lasting(t)
		theField.field = field{
			gateway: lab.Node(lasting, "gateway"),
			client:  lab.Node(lasting, "client"),
			swan:    lab.Node(lasting, "swan", "10.7.0.1/32", "10.8.1.1/32", "fd07::1/128", "fd08:1::1/128"),
		}
		theField.charon = theField.swan.StartCharon(lasting)
	})
	if theField.charon == nil {
		t.Fatal("strongSwan did not start: see the first failure")
	}
	return &theField.field
}

// dialSwan brings our client up against strongSwan as the gateway.
func (f *field) dialSwan(t *testing.T, c *Charon, p profile) (*Swan, SwanSA) {
	t.Helper()
	p.swanGateway(t, c)
	ours := f.client.Connect(t, p.ourClient(c.node), p.ourFiles(t, p.client, p.gateway))
	ours.AwaitUp(t)
	return ours, c.AwaitUp(t, "office")
}

// swanDials brings strongSwan up as a client of our gateway.
func (f *field) swanDials(t *testing.T, c *Charon, p profile) (*Swan, SwanSA) {
	t.Helper()
	ours := f.gateway.Gateway(t, p.ourGateway(f.gateway), p.ourFiles(t, p.gateway, p.client))
	p.swanClient(t, c, f.gateway)
	if out, err := c.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20"); err != nil {
		t.Fatalf("strongSwan's initiate: %v\n%s", err, out)
	}
	ours.AwaitUp(t)
	return ours, c.AwaitUp(t, "office")
}

// pair makes a gateway's and a client's certificate under roots of their own.
func pair(t testing.TB, key func() crypto.Signer) (gateway, client *Certificate) {
	t.Helper()
	issueUnder := func(root, name string) *Certificate {
		return issue(t, name, key(), issue(t, root, key(), nil, true), false)
	}
	return issueUnder("gateways", gatewayID), issueUnder("clients", clientID)
}

func TestStrongSwan(t *testing.T) {
	f := meetSwan(t)
	rsaGateway, rsaClient := pair(t, func() crypto.Signer { return rsaKey(t, 2048) })
	edGateway, edClient := pair(t, func() crypto.Signer { return ed25519Key(t) })
	ecdsaGateway, ecdsaClient := pair(t, func() crypto.Signer { return ecdsaKey(t) })
	cases := []struct {
		name string
		profile
		said map[string]string // of the IKE SA, in swanctl's words
	}{
		{"PSK, AES-GCM, X25519", profile{ike: "aes256gcm16-prfsha256-x25519", esp: "aes256gcm16"},
			map[string]string{"encr-alg": "AES_GCM_16", "encr-keysize": "256", "prf-alg": "PRF_HMAC_SHA2_256", "dh-group": "CURVE_25519"}},
		{"PSK, AES-CBC, ECP-256", profile{ike: "aes128-sha256-ecp256", esp: "aes128-sha256"},
			map[string]string{"encr-alg": "AES_CBC", "encr-keysize": "128", "integ-alg": "HMAC_SHA2_256_128", "dh-group": "ECP_256"}},
		{"PSK, AES-CBC, MODP-2048", profile{ike: "aes256-sha384-modp2048", esp: "aes256-sha384"},
			map[string]string{"encr-alg": "AES_CBC", "encr-keysize": "256", "integ-alg": "HMAC_SHA2_384_192", "dh-group": "MODP_2048"}},
		{"RSA, AES-GCM, ECP-256", profile{ike: "aes128gcm16-prfsha384-ecp256", esp: "aes128gcm16", gateway: rsaGateway, client: rsaClient},
			map[string]string{"encr-alg": "AES_GCM_16", "encr-keysize": "128", "prf-alg": "PRF_HMAC_SHA2_384", "dh-group": "ECP_256"}},
		{"ECDSA, AES-CBC, X25519", profile{ike: "aes256-sha512-x25519", esp: "aes256gcm16", gateway: ecdsaGateway, client: ecdsaClient},
			map[string]string{"encr-alg": "AES_CBC", "integ-alg": "HMAC_SHA2_512_256", "prf-alg": "PRF_HMAC_SHA2_512", "dh-group": "CURVE_25519"}},
		{"RSA gateway, ECDSA client, ChaCha20, ECP-384", profile{ike: "chacha20poly1305-prfsha512-ecp384", esp: "chacha20poly1305", gateway: rsaGateway, client: ecdsaClient},
			map[string]string{"encr-alg": "CHACHA20_POLY1305", "prf-alg": "PRF_HMAC_SHA2_512", "dh-group": "ECP_384"}},
		{"Ed25519, AES-GCM, ECP-521", profile{ike: "aes256gcm16-prfsha512-ecp521", esp: "aes128-sha512", gateway: edGateway, client: edClient},
			map[string]string{"encr-alg": "AES_GCM_16", "prf-alg": "PRF_HMAC_SHA2_512", "dh-group": "ECP_521"}},
		{"PSK, AES-CBC, MODP-3072", profile{ike: "aes128-sha256-modp3072", esp: "aes256-sha256"},
			map[string]string{"encr-alg": "AES_CBC", "integ-alg": "HMAC_SHA2_256_128", "dh-group": "MODP_3072"}},
	}
	for _, c := range cases {
		for _, way := range []struct {
			name, peer string
			node       *Node
			dial       func(*testing.T, *Charon, profile) (*Swan, SwanSA)
		}{
			{"we initiate", clientID, f.client, f.dialSwan},
			{"it initiates", gatewayID, f.gateway, f.swanDials},
		} {
			t.Run(c.name+"/"+way.name, func(t *testing.T) {
				capture := way.node.Capture(t)
				ours, sa := way.dial(t, f.charon, c.profile)
				c.said["remote-id"] = way.peer
				for key, value := range c.said {
					if sa.Values[key] != value {
						t.Errorf("strongSwan sees %s = %q, want %q", key, sa.Values[key], value)
					}
				}
				if child := sa.Children[0].Values; child["mode"] != "TUNNEL" || child["protocol"] != "ESP" {
					t.Errorf("strongSwan's Child SA: %v", child)
				}
				if c.said["encr-alg"] == "CHACHA20_POLY1305" {
					return // tshark 4.0 cannot decrypt it
				}
				packets := capture.End(t, ours.KeyLog())
				packets.WellFormed(t)
				packets.Opened(t)
			})
		}
	}
}

// A gateway narrows what is asked for to what it gives (RFC 7296 2.9).
func TestStrongSwanNarrowing(t *testing.T) {
	f := meetSwan(t)
	_, sa := f.swanDials(t, f.charon, usual)
	if got := sa.Children[0].Values["local-ts"]; !strings.Contains(got, clientInner) {
		t.Errorf("strongSwan's local-ts = %q, want %s", got, clientInner)
	}
	if got := sa.Children[0].Values["remote-ts"]; !strings.Contains(got, gatewayInner) {
		t.Errorf("strongSwan's remote-ts = %q, want %s", got, gatewayInner)
	}
}

// An initiator whose first guess at the key exchange is wrong is told so and
// begins again (RFC 7296 1.2).
func TestStrongSwanInvalidKE(t *testing.T) {
	f := meetSwan(t)
	both, one := usual, usual
	both.ike, one.ike = "aes256gcm16-prfsha256-x25519-ecp256", "aes256gcm16-prfsha256-ecp256"
	t.Run("we initiate", func(t *testing.T) {
		one.swanGateway(t, f.charon)
		mark := f.charon.Mark()
		f.client.Connect(t, both.ourClient(f.swan), nil).AwaitUp(t)
		if !f.charon.Said(mark, `generating IKE_SA_INIT response 0 \[ N\(INVAL_KE\) \]`) {
			t.Error("strongSwan had nothing against our first KE")
		}
		f.charon.AwaitUp(t, "office")
	})
	t.Run("it initiates", func(t *testing.T) {
		f.gateway.Gateway(t, one.ourGateway(f.gateway), nil)
		both.swanClient(t, f.charon, f.gateway)
		mark := f.charon.Mark()
		if out, err := f.charon.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20"); err != nil {
			t.Fatalf("strongSwan's initiate: %v\n%s", err, out)
		}
		if !f.charon.Said(mark, `parsed IKE_SA_INIT response 0 \[ N\(INVAL_KE\) \]`) {
			t.Error("our gateway had nothing against its first KE")
		}
		f.charon.AwaitUp(t, "office")
	})
}

// Nothing in common: NO_PROPOSAL_CHOSEN (RFC 7296 3.10.1).
func TestStrongSwanNoProposal(t *testing.T) {
	f := meetSwan(t)
	other := usual
	other.ike = "aes128-sha256-modp3072"
	ours := f.gateway.Gateway(t, usual.ourGateway(f.gateway), nil)
	other.swanClient(t, f.charon, f.gateway)
	mark := f.charon.Mark()
	if out, err := f.charon.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20"); err == nil {
		t.Errorf("strongSwan is in:\n%s", out)
	}
	f.charon.Await(t, mark, `received NO_PROPOSAL_CHOSEN notify error`)
	ours.AwaitNone(t)
}

// Selectors that the gateway does not give: no Child SA, and the IKE SA stays
// (RFC 7296 1.2, 2.9).
func TestStrongSwanNoSelectors(t *testing.T) {
	f := meetSwan(t)
	f.gateway.Gateway(t, strings.ReplaceAll(usual.ourGateway(f.gateway), gatewayInner, "192.0.2.0/24"), nil)
	usual.swanClient(t, f.charon, f.gateway)
	mark := f.charon.Mark()
	_, _ = f.charon.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20")
	f.charon.Await(t, mark, `received TS_UNACCEPTABLE notify, no CHILD_SA built`)
	if sas := f.charon.SAs(t); len(sas) != 1 || sas[0].State != "ESTABLISHED" || len(sas[0].Children) != 0 {
		t.Errorf("strongSwan: %+v", sas)
	}
}

// COOKIE, RFC 7296 2.6.
func TestStrongSwanCookie(t *testing.T) {
	f := meetSwan(t)
	t.Run("from our gateway", func(t *testing.T) {
		p := usual
		p.top = "cookie: always\n"
		mark := f.charon.Mark()
		f.swanDials(t, f.charon, p)
		if !f.charon.Said(mark, `parsed IKE_SA_INIT response 0 \[ N\(COOKIE\) \]`) {
			t.Error("strongSwan has seen no COOKIE")
		}
		if !f.charon.Said(mark, `generating IKE_SA_INIT request 0 \[ N\(COOKIE\) `) {
			t.Error("strongSwan has returned no COOKIE")
		}
	})
	t.Run("from strongSwan", func(t *testing.T) {
		c := lab.Node(t, "swan-cookie", "10.7.0.1/32").StartCharon(t,
			"cookie_threshold = 1", "half_open_timeout = 120", "cookie_threshold_ip = 1")
		usual.swanGateway(t, c)
		// One half-open SA raises the shield for all.
		if _, err := f.client.Dial(t, c.node.Addr, 500).Write(halfOpen(t)); err != nil {
			t.Fatal(err)
		}
		c.Await(t, 0, `generating IKE_SA_INIT response 0 \[ SA KE`)
		mark := c.Mark()
		f.client.Connect(t, usual.ourClient(c.node), nil).AwaitUp(t)
		if !c.Said(mark, `generating IKE_SA_INIT response 0 \[ N\(COOKIE\) \]|sending .*cookie`) {
			t.Errorf("strongSwan has asked for no COOKIE: %s", strings.Join(c.log.since(mark), "\n"))
		}
		if !c.Said(mark, `parsed IKE_SA_INIT request 0 \[ N\(COOKIE\) `) {
			t.Error("strongSwan has not got its COOKIE back")
		}
	})
}

// halfOpen is an IKE_SA_INIT request that will never be followed: AES-GCM-16
// 256, PRF HMAC-SHA2-256, X25519.
func halfOpen(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString("b1ac5a0000000001" + "0000000000000000" + "21202208" + "00000000" + "00000090" +
		"22000028" + "00000024" + "01010003" + "0300000c01000014800e0100" + "0300000802000005" + "000000080400001f" +
		"28000028" + "001f0000" + strings.Repeat("09", 32) +
		"00000024" + strings.Repeat("5a", 32))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Without RFC 7427 on its side ECDSA goes by the methods of RFC 4754, and the
// old RSA method, SHA-1 inside, is refused by either of us (rule G1).
func TestStrongSwanOldSignatures(t *testing.T) {
	f := meetSwan(t)
	c := lab.Node(t, "swan-old", "10.7.0.1/32", "10.8.1.1/32").StartCharon(t, "signature_authentication = no")
	ec, old := usual, usual
	ec.gateway, ec.client = pair(t, func() crypto.Signer { return ecdsaKey(t) })
	old.gateway, old.client = pair(t, func() crypto.Signer { return rsaKey(t, 2048) })
	t.Run("ECDSA, we initiate", func(t *testing.T) {
		mark := c.Mark()
		f.dialSwan(t, c, ec)
		c.Await(t, mark, `authentication of 'client@example.org' with ECDSA-256 signature successful`)
	})
	t.Run("ECDSA, it initiates", func(t *testing.T) {
		mark := c.Mark()
		f.swanDials(t, c, ec)
		c.Await(t, mark, `authentication of 'gw.example.org' with ECDSA-256 signature successful`)
	})
	t.Run("RSA, it initiates", func(t *testing.T) {
		ours := f.gateway.Gateway(t, old.ourGateway(f.gateway), old.ourFiles(t, old.gateway, old.client))
		old.swanClient(t, c, f.gateway)
		mark := c.Mark()
		if out, err := c.Swanctl(t, "--initiate", "--child", "office", "--timeout", "20"); err == nil {
			t.Errorf("strongSwan is in with SHA-1:\n%s", out)
		}
		c.Await(t, mark, `received AUTHENTICATION_FAILED notify error`)
		ours.AwaitNone(t)
	})
	t.Run("RSA, we initiate", func(t *testing.T) {
		old.swanGateway(t, c)
		ours := f.client.Connect(t, old.ourClient(c.node), old.ourFiles(t, old.client, old.gateway))
		until(t, "our client to refuse", func() bool {
			status, err := ours.Status(t)
			return err == nil && status.Totals.Failed > 0
		})
		if sas := c.SAs(t); len(sas) > 0 && sas[0].State == "ESTABLISHED" {
			t.Errorf("strongSwan has an SA with an RSA signature of ours: %v", sas)
		}
	})
}

// Certificates of `blackswan pki` are good enough for strongSwan.
func TestStrongSwanTakesOurPKI(t *testing.T) {
	f := meetSwan(t)
	dir := f.gateway.Dir(t, "pki")
	pki := func(args ...string) { f.gateway.MustRun(t, nil, append([]string{lab.program(t), "pki"}, args...)...) }
	pki("init", dir)
	for _, key := range []string{"ecdsa", "rsa"} {
		t.Run(key, func(t *testing.T) {
			p := usual
			for _, side := range []struct {
				id, kind string
				cert     **Certificate
			}{{gatewayID, "gateway", &p.gateway}, {clientID, "client", &p.client}} {
				prefix := filepath.Join(dir, key+side.kind)
				pki("issue", dir, "--id", side.id, "--kind", side.kind, "--key", key, "--out", prefix)
				*side.cert = loadCertificate(t, prefix, filepath.Join(dir, "ca.pem"))
			}
			f.dialSwan(t, f.charon, p)
		})
	}
}

// Fragmentation, RFC 7383, forced by chains that no datagram holds; RSA-PSS.
func TestStrongSwanFragments(t *testing.T) {
	f := meetSwan(t)
	long := func(root, name string) *Certificate {
		by := issue(t, root, rsaKey(t, 2048), nil, true)
		for _, between := range []string{" between", " between two", " between three"} {
			by = issue(t, root+between, rsaKey(t, 2048), by, true)
		}
		return issue(t, name, rsaKey(t, 2048), by, false)
	}
	p := usual
	p.gateway, p.client = long("gateways", gatewayID), long("clients", clientID)
	p.more = "fragment: 1200\n"
	c := lab.Node(t, "swan-pss", "10.7.0.1/32", "10.8.1.1/32").StartCharon(t, "rsa_pss = yes")
	check := func(t *testing.T, mark int, packets Packets) {
		if !c.Said(mark, `splitting IKE message \(\d+ bytes\) into \d+ fragments`) {
			t.Error("strongSwan has sent no fragments")
		}
		if !c.Said(mark, `received fragment #\d+ of \d+, reassembled`) {
			t.Error("strongSwan has put no fragments of ours together")
		}
		packets.WellFormed(t)
		for _, packet := range packets {
			if n := packet.Size(); n > 1280 {
				t.Errorf("packet %d has %d octets of IP, more than 1280", packet.Number, n)
			}
		}
	}
	t.Run("we initiate", func(t *testing.T) {
		mark, capture := c.Mark(), f.client.Capture(t)
		f.dialSwan(t, c, p)
		check(t, mark, capture.End(t))
	})
	t.Run("it initiates", func(t *testing.T) {
		mark, capture := c.Mark(), f.gateway.Capture(t)
		f.swanDials(t, c, p)
		check(t, mark, capture.End(t))
	})
}
