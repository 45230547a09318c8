package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"blackswan/auth/authtest"
	"blackswan/auth/cert"
	"blackswan/wire"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func newCA(t *testing.T, algorithm Algorithm) *CA {
	t.Helper()
	ca, err := NewCA("Black Swan test", algorithm, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func (ca *CA) mustIssue(t *testing.T, req Request) *Leaf {
	t.Helper()
	l, err := ca.Issue(req)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestFiles makes an authority and certificates of each kind, reads all of it
// from disk as a gateway would, and runs the kit of package auth on it.
func TestFiles(t *testing.T) {
	for _, row := range []struct {
		ca, leaf Algorithm
		kind     Kind
		id       string
		want     wire.ID
	}{
		{"", "", Gateway, "gw.example.org", wire.ID{Type: wire.IDFQDN, Data: []byte("gw.example.org")}},
		{Ed25519, Ed25519, Client, "alice@example.org", wire.ID{Type: wire.IDRFC822Addr, Data: []byte("alice@example.org")}},
		{RSA3072, RSA2048, Gateway, "192.0.2.1", wire.ID{Type: wire.IDIPv4Addr, Data: []byte{192, 0, 2, 1}}},
		{ECDSAP384, ECDSAP256, Client, "2001:db8::1", wire.ID{Type: wire.IDIPv6Addr, Data: netip.MustParseAddr("2001:db8::1").AsSlice()}},
		{ECDSAP256, RSA3072, Gateway, "gw." + strings.Repeat("long-label.", 8) + "example", wire.ID{Type: wire.IDFQDN, Data: []byte("gw." + strings.Repeat("long-label.", 8) + "example")}},
	} {
		t.Run(row.id, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pki")
			if err := newCA(t, row.ca).Save(dir); err != nil {
				t.Fatal(err)
			}
			ca, err := LoadCA(dir)
			if err != nil {
				t.Fatal(err)
			}
			prefix := filepath.Join(dir, "peer")
			if err := ca.mustIssue(t, Request{ID: row.id, Kind: row.kind, Algorithm: row.leaf, Now: now}).Save(prefix); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{filepath.Join(dir, CAKeyFile), prefix + ".key"} {
				if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v %v", key, info.Mode(), err)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			authorities, err := cert.LoadCertificates(filepath.Join(dir, CAFile))
			if err != nil {
				t.Fatal(err)
			}
			credential, err := cert.LoadCredential(prefix+".pem", prefix+".key", authorities)
			if err != nil {
				t.Fatal(err)
			}
			signer, err := cert.NewSigner(credential)
			if err != nil {
				t.Fatal(err)
			}
			verifier, err := cert.NewVerifier(cert.Trust{Authorities: authorities})
			if err != nil {
				t.Fatal(err)
			}
			authtest.Run(t, authtest.Pair{Signer: signer, Verifier: verifier, ID: row.want, Hashes: authtest.Hashes(), Method: wire.AuthSignature, Now: now})
		})
	}
}

// TestCertificate checks what other makes look for.
func TestCertificate(t *testing.T) {
	ca := newCA(t, "")
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	serials := make(map[string]bool)
	for _, row := range []struct {
		kind  Kind
		usage x509.ExtKeyUsage
	}{{Gateway, x509.ExtKeyUsageServerAuth}, {Client, x509.ExtKeyUsageClientAuth}} {
		c := ca.mustIssue(t, Request{ID: "a.example", Kind: row.kind, Now: now}).Certificate
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{row.usage}}); err != nil {
			t.Errorf("%s: %v", row.kind, err)
		}
		serials[c.SerialNumber.String()] = true
		switch {
		case len(c.UnknownExtKeyUsage) != 1 || c.UnknownExtKeyUsage[0].String() != "1.3.6.1.5.5.7.3.17":
			t.Errorf("%s: extended key usage %v", row.kind, c.UnknownExtKeyUsage)
		case c.KeyUsage != x509.KeyUsageDigitalSignature || c.IsCA:
			t.Errorf("%s: key usage %b, authority %v", row.kind, c.KeyUsage, c.IsCA)
		case len(c.SubjectKeyId) != 20 || !bytes.Equal(c.AuthorityKeyId, ca.Certificate.SubjectKeyId):
			t.Errorf("%s: key identifiers %x and %x", row.kind, c.SubjectKeyId, c.AuthorityKeyId)
		case c.SerialNumber.BitLen() > 128 || c.SerialNumber.BitLen() < 64:
			t.Errorf("%s: serial number of %d bits", row.kind, c.SerialNumber.BitLen())
		case !c.NotBefore.Equal(now.Add(-skew)) || !c.NotAfter.Equal(now.AddDate(0, 0, DefaultDays)):
			t.Errorf("%s: from %v to %v", row.kind, c.NotBefore, c.NotAfter)
		}
	}
	if len(serials) != 2 {
		t.Error("two certificates have one serial number")
	}
	c := ca.Certificate
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(c.SubjectKeyId) != 20 {
		t.Errorf("the authority: %+v", c.KeyUsage)
	}
}

// TestOutlives: no certificate lives longer than its authority.
func TestOutlives(t *testing.T) {
	ca, err := NewCA("short", "", 10, now)
	if err != nil {
		t.Fatal(err)
	}
	if c := ca.mustIssue(t, Request{ID: "a", Kind: Client, Days: 100, Now: now}).Certificate; !c.NotAfter.Equal(ca.Certificate.NotAfter) {
		t.Errorf("ends %v", c.NotAfter)
	}
	if _, err := ca.Issue(Request{ID: "a", Kind: Client, Now: now.AddDate(0, 0, 10)}); err == nil {
		t.Error("an authority that has ended issues")
	}
}

func TestRefused(t *testing.T) {
	ca := newCA(t, "")
	for _, id := range []string{
		"", ".", "a..b", "gw.example.", "*.example.org", "a b", "a/b", "sch\u00f6n.example", "@example.org", "alice@", "alice@b@c", "al ice@example.org",
		"fe80::1%eth0", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a", "a\n",
	} {
		if _, err := ca.Issue(Request{ID: id, Kind: Gateway, Now: now}); err == nil {
			t.Errorf("identity %q: accepted", id)
		}
	}
	for what, req := range map[string]Request{
		"kind":          {ID: "a", Kind: "server", Now: now},
		"no kind":       {ID: "a", Now: now},
		"algorithm":     {ID: "a", Kind: Client, Algorithm: "rsa-1024", Now: now},
		"negative days": {ID: "a", Kind: Client, Days: -1, Now: now},
		"too many days": {ID: "a", Kind: Client, Days: maxDays + 1, Now: now},
	} {
		if _, err := ca.Issue(req); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	for _, name := range []string{"", strings.Repeat("n", maxCommonName+1)} {
		if _, err := NewCA(name, "", 0, now); err == nil {
			t.Errorf("authority %q: accepted", name)
		}
	}
	if _, err := NewCA("a", "dsa", 0, now); err == nil {
		t.Error("an authority with DSA: accepted")
	}
}

// TestNeverReplaces: neither an authority nor a certificate is lost to a second
// command, and a key that a killed run left is not used.
func TestNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	first, second := newCA(t, ""), newCA(t, "")
	left := []byte("left by a killed run")
	if err := os.WriteFile(filepath.Join(dir, CAKeyFile), left, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, CAFile+".new"), left, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := first.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := second.Save(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second authority: %v", err)
	}
	got, err := LoadCA(dir)
	if err != nil || !got.Certificate.Equal(first.Certificate) {
		t.Errorf("%v %v", got, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, CAKeyFile+".unused")); err != nil || !bytes.Equal(b, left) {
		t.Errorf("%q %v", b, err)
	}
	leaf := first.mustIssue(t, Request{ID: "a", Kind: Client, Now: now})
	if err := leaf.Save(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := leaf.Save(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second certificate: %v", err)
	}
}

func TestLoadCARefuses(t *testing.T) {
	if _, err := LoadCA(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	other := t.TempDir()
	if err := newCA(t, "").Save(other); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(certificate, key string) error{
		"no key":         func(_, key string) error { return os.Remove(key) },
		"open to others": func(_, key string) error { return os.Chmod(key, 0o640) },
		"another key":    func(_, key string) error { return copyFile(filepath.Join(other, CAKeyFile), key) },
		"key cut short":  func(_, key string) error { return os.Truncate(key, 100) },
		"key for rubbish": func(_, key string) error {
			return os.WriteFile(key, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600)
		},
		"certificate a key": func(certificate, key string) error { return copyFile(key, certificate) },
		"certificate cut":   func(certificate, _ string) error { return os.Truncate(certificate, 100) },
		"certificate large": func(certificate, _ string) error { return os.Truncate(certificate, maxFile+1) },
	} {
		dir := t.TempDir()
		if err := newCA(t, "").Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := spoil(filepath.Join(dir, CAFile), filepath.Join(dir, CAKeyFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadCA(dir); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	leaf := newCA(t, "").mustIssue(t, Request{ID: "a", Kind: Client, Now: now})
	if err := leaf.Save(filepath.Join(dir, "ca")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCA(dir); err == nil || !strings.Contains(err.Error(), "no authority") {
		t.Errorf("a client's certificate: %v", err)
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

func TestRedacted(t *testing.T) {
	ca := newCA(t, Ed25519)
	leaf := ca.mustIssue(t, Request{ID: "a", Kind: Client, Algorithm: Ed25519, Now: now})
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		if got := fmt.Sprintf(verb, ca) + ", " + fmt.Sprintf(verb, leaf); got != "authority CN=Black Swan test, certificate of CN=a" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

// TestOpenSSL asks a foreign judge, where there is one.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI=true and openssl is not installed: interop/setup.sh installs it")
		}
		t.Skip("openssl is not installed: our certificates are judged by Go alone")
	}
	dir := t.TempDir()
	ca, err := NewCA("Black Swan test", "", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	prefix := filepath.Join(dir, "gw")
	if err := ca.mustIssue(t, Request{ID: "gw.example.org", Kind: Gateway, Algorithm: RSA2048, Now: time.Now()}).Save(prefix); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", filepath.Join(dir, CAFile), prefix+".pem").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	out, err = exec.Command(openssl, "pkey", "-noout", "-check", "-in", prefix+".key").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
