package cert

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, mode os.FileMode, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// wants reads an error as a person would: it names the file and what to do.
func wants(t *testing.T, name string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted", name)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q does not say %q", name, err, w)
		}
	}
}

func TestLoadKey(t *testing.T) {
	ec, ed, rs := newKey("P-384"), newKey("ed25519"), rsaKey(2048)
	sec1, err := x509.MarshalECPrivateKey(ec.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	old := x509.MarshalPKCS1PrivateKey(rs.(*rsa.PrivateKey))
	parameters := pemOf("EC PARAMETERS", []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22})
	for _, row := range []struct {
		name    string
		content []byte
		want    any
	}{
		{"PKCS #8 ECDSA", pemOf("PRIVATE KEY", pkcs8(t, ec)), ec.Public()},
		{"PKCS #8 Ed25519", pemOf("PRIVATE KEY", pkcs8(t, ed)), ed.Public()},
		{"PKCS #8 RSA", pemOf("PRIVATE KEY", pkcs8(t, rs)), rs.Public()},
		{"PKCS #1", pemOf("RSA PRIVATE KEY", old), rs.Public()},
		{"SEC 1 behind its parameters, as openssl writes it", append(parameters, pemOf("EC PRIVATE KEY", sec1)...), ec.Public()},
		{"DER", pkcs8(t, ed), ed.Public()},
	} {
		for _, mode := range []os.FileMode{0o600, 0o400, 0o640} {
			key, err := LoadKey(write(t, mode, row.content))
			if err != nil || !samePublic(key.Public(), row.want) {
				t.Errorf("%s, mode %04o: %v", row.name, mode, err)
			}
		}
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	good := pemOf("PRIVATE KEY", pkcs8(t, newKey("P-256")))
	for _, mode := range []os.FileMode{0o604, 0o644, 0o660, 0o602, 0o601} {
		path := write(t, 0o600, good)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKey(path)
		wants(t, mode.String(), err, path, "chmod 0600")
	}
	for _, row := range []struct {
		name, word string
		content    []byte
	}{
		{"encrypted", "openssl pkey", pemOf("ENCRYPTED PRIVATE KEY", []byte{1})},
		{"encrypted, the old way", "without password", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte{1, 2, 3}})},
		{"a certificate", "BEGIN PRIVATE KEY", pemOf("CERTIFICATE", []byte{1})},
		{"X25519, which cannot sign", "ECDSA", pemOf("PRIVATE KEY", unhex(t, "302e020100300506032b656e04220420"+strings.Repeat("11", 32)))},
		{"empty", "BEGIN", nil},
		{"text", "BEGIN", []byte("hello")},
		{"cut short", "PKCS #8", pemOf("PRIVATE KEY", pkcs8(t, newKey("P-256"))[:40])},
	} {
		path := write(t, 0o600, row.content)
		_, err := LoadKey(path)
		wants(t, row.name, err, path, row.word)
	}
	_, err := LoadKey(filepath.Join(t.TempDir(), "none.pem"))
	wants(t, "no file", err, "none.pem")
}

func TestLoadCredential(t *testing.T) {
	top := root(t)
	middle := issue(t, authority("middle"), newKey("P-256"), top)
	leaf := issue(t, template("gw.example"), newKey("P-256"), middle)
	key := write(t, 0o600, pemOf("PRIVATE KEY", pkcs8(t, leaf.key)))
	chain := append(pemOf("CERTIFICATE", leaf.cert.Raw), pemOf("CERTIFICATE", middle.cert.Raw)...)
	c, err := LoadCredential(write(t, 0o644, chain), key, []*x509.Certificate{top.cert})
	if err != nil || !c.Certificate().Equal(leaf.cert) || len(c.send) != 2 || !c.below(hashOf(top.cert)) {
		t.Fatalf("%v %v", c, err)
	}
	turned := append(pemOf("CERTIFICATE", middle.cert.Raw), pemOf("CERTIFICATE", leaf.cert.Raw)...)
	path := write(t, 0o644, turned)
	_, err = LoadCredential(path, key, nil)
	wants(t, "turned round", err, path, key, "middle")
	_, err = LoadCredential("none.pem", key, nil)
	wants(t, "no certificate file", err, "none.pem")
	_, err = LoadCredential(write(t, 0o644, chain), "none.pem", nil)
	wants(t, "no key file", err, "none.pem")
}

func TestLoadCertificates(t *testing.T) {
	top, other := root(t), root(t)
	both := append(pemOf("CERTIFICATE", top.cert.Raw), pemOf("CERTIFICATE", other.cert.Raw)...)
	got, err := LoadCertificates(write(t, 0o644, append([]byte("# a comment\n"), both...)))
	if err != nil || len(got) != 2 || !got[0].Equal(top.cert) || !got[1].Equal(other.cert) {
		t.Errorf("%d, %v", len(got), err)
	}
	if got, err := LoadCertificates(write(t, 0o644, top.cert.Raw)); err != nil || !got[0].Equal(top.cert) {
		t.Errorf("DER: %v", err)
	}
	for name, content := range map[string][]byte{
		"a key":     pemOf("PRIVATE KEY", []byte{1}),
		"empty":     nil,
		"cut short": pemOf("CERTIFICATE", top.cert.Raw[:100]),
		"too large": make([]byte, maxFile+1),
	} {
		path := write(t, 0o644, content)
		_, err := LoadCertificates(path)
		wants(t, name, err, path)
	}
}

func TestLoadRevocations(t *testing.T) {
	top := root(t)
	list := revocations(t, top, &x509.RevocationList{}, top.cert.SerialNumber)
	for name, content := range map[string][]byte{"PEM": pemOf("X509 CRL", list.Raw), "DER": list.Raw} {
		got, err := LoadRevocations(write(t, 0o644, content))
		if err != nil || len(got) != 1 || len(got[0].RevokedCertificateEntries) != 1 {
			t.Errorf("%s: %d lists, %v", name, len(got), err)
		}
	}
	for name, content := range map[string][]byte{"a certificate": pemOf("CERTIFICATE", top.cert.Raw), "cut short": list.Raw[:50]} {
		path := write(t, 0o644, content)
		_, err := LoadRevocations(path)
		wants(t, name, err, path)
	}
}
