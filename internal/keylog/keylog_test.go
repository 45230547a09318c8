package keylog

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"blackswan/internal/suite"
	"blackswan/wire"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLine compares with tables that others made: libreswan 5.2's, which
// tshark 4.0 reads, and that of Wireshark's own test suite.
func TestLine(t *testing.T) {
	gcm128 := suite.Suite{Encr: wire.ENCRAESGCM16, KeyBits: 128}
	gcm256 := suite.Suite{Encr: wire.ENCRAESGCM16, KeyBits: 256}
	cbc256 := suite.Suite{Encr: wire.ENCRAESCBC, KeyBits: 256, Integ: wire.INTEGHMACSHA256}
	for _, row := range []struct {
		name       string
		spii, spir uint64
		suite      suite.Suite
		want       string
	}{
		{"libreswan", 0x74774fb007bdb9a5, 0xfc7a8b28949a6b9c, gcm128,
			`74774fb007bdb9a5,fc7a8b28949a6b9c,5acf09d9dcf0c090b464622c46b92b00ef80803a,12750d6f4214c2d85e6bb407c4c1874a3e5b7972,"AES-GCM-128 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"`},
		{"Wireshark, AEAD", 0x0158b8fb90b7623d, 0x13514610cea16160, gcm256,
			`0158b8fb90b7623d,13514610cea16160,647075bf167447a1c8683e8dbe4794b4cfe73799cc6bec34905441159ce13705c8dfb3a9,15c9eae6f94631d63068bf44bb69999abc07b3d15e915fd8f0ed99ad481efd75deb02a5e,"AES-GCM-256 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"`},
		{"Wireshark, CBC", 0x191ccd371a7a1f7b, 0xbc123d15e4af593f, cbc256,
			`191ccd371a7a1f7b,bc123d15e4af593f,9096ddd2933620e8f48122c53a3f562cb0222c1cf97ce41fcc874ea2582a89ac,6718c6b2bbef2f234eac4c13832f885d87b574afd2af0111161e99b5dc61b4d4,"AES-CBC-256 [RFC3602]",12d532c3e83c757906af548dfe1ccf223ca5507af77898454e2d55c8ace57a17,30c4ead18c93024b58a86c1e3db60f550221801026853170b4cb0248d3a95329,"HMAC_SHA2_256_128 [RFC4868]"`},
	} {
		f := strings.Split(row.want, ",")
		got := line(row.spii, row.spir, row.suite, unhex(t, f[2]), unhex(t, f[3]), unhex(t, f[5]), unhex(t, f[6]))
		if string(got) != row.want+"\n" {
			t.Errorf("%s:\n%s%s", row.name, got, row.want)
		}
	}
}

// TestEverySuite: what Wireshark can decrypt has a line, and the rest is a
// comment without keys.
func TestEverySuite(t *testing.T) {
	for _, integ := range []wire.TransformID{wire.INTEGHMACSHA256, wire.INTEGHMACSHA384, wire.INTEGHMACSHA512} {
		for _, bits := range []uint16{128, 256} {
			s := suite.Suite{Encr: wire.ENCRAESCBC, KeyBits: bits, Integ: integ, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}
			if got := line(1, 2, s, []byte("k"), []byte("k"), []byte("k"), []byte("k")); got[0] == '#' {
				t.Errorf("%v: %s", s, got)
			}
		}
	}
	chacha := suite.Suite{Encr: wire.ENCRChaCha20Poly1305, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}
	got := string(line(1, 2, chacha, []byte("secret"), []byte("secret"), nil, nil))
	if !strings.HasPrefix(got, "# 0000000000000001,0000000000000002:") || strings.Contains(got, hex.EncodeToString([]byte("secret"))) {
		t.Errorf("ChaCha20-Poly1305: %s", got)
	}
}

// TestAppends: two logs on one file lose no line, and the file is ours alone.
func TestAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	var group sync.WaitGroup
	for range 2 {
		l, err := New(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for i := range 50 {
			group.Go(func() {
				if err := l.SA(uint64(i), 1, suite.Suite{Encr: wire.ENCRAESGCM16, KeyBits: 128}, make([]byte, 20), make([]byte, 20), nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(b), "\n")
	if len(lines) != 101 || lines[100] != "" {
		t.Fatalf("%d lines", len(lines)-1)
	}
	for _, l := range lines[:100] {
		if len(l) != len(lines[0]) {
			t.Errorf("torn: %q", l)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestNewRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(path); err == nil || !strings.Contains(err.Error(), "chmod 0600") || !strings.Contains(err.Error(), path) {
		t.Errorf("open to others: %v", err)
	}
	if _, err := New(filepath.Join(path, "keys")); err == nil {
		t.Error("no such directory: accepted")
	}
	l, err := New(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.SA(1, 2, suite.Suite{}, nil, nil, nil, nil); err == nil {
		t.Error("closed: accepted")
	}
}
