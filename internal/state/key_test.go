package state

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestRuleD3_Wrap(t *testing.T) {
	key := NewStateKey()
	for _, plain := range [][]byte{{}, {0}, []byte("a secret"), bytes.Repeat([]byte{7}, 100_000)} {
		wrapped := Wrap(key, []byte("keys/ring"), plain)
		if len(wrapped) != len(plain)+WrapOverhead {
			t.Fatalf("%d octets became %d; want %d more", len(plain), len(wrapped), WrapOverhead)
		}
		got, err := Unwrap(key, []byte("keys/ring"), wrapped)
		if err != nil || !bytes.Equal(got, plain) || got == nil {
			t.Fatalf("%d octets came back as %d, %v", len(plain), len(got), err)
		}
		if len(plain) > 4 && bytes.Contains(wrapped, plain[:4]) {
			t.Fatal("the secret lies in the open")
		}
	}
	if bytes.Equal(Wrap(key, nil, nil), Wrap(key, nil, nil)) {
		t.Fatal("two wraps are the same")
	}
}

// TestWrapKnownAnswer holds the format against another implementation's HKDF and
// AES-GCM.
func TestWrapKnownAnswer(t *testing.T) {
	key := StateKey{}
	for i := range key {
		key[i] = byte(i)
	}
	wrapped, err := hex.DecodeString("01" + "404142434445464748494a4b4c4d4e4f" + "606162636465666768696a6b" +
		"aa67bd88395a63d43197ab6ec831deb2d3432564a4eb0067e9")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := Unwrap(key, []byte("keys/ticket"), wrapped); err != nil || string(plain) != "blackswan" {
		t.Errorf("%q, %v; want blackswan", plain, err)
	}
}

// TestRuleD3_Forged: no octet can change, no record can change places, no other
// key opens; the error names the record and not what is in it.
func TestRuleD3_Forged(t *testing.T) {
	key, place := NewStateKey(), []byte("keys/ring")
	wrapped := Wrap(key, place, []byte("a secret"))
	forged := map[string][]byte{"nothing": nil}
	for i := range wrapped {
		forged[fmt.Sprintf("cut to %d", i)] = wrapped[:i]
		for bit := range 8 {
			b := bytes.Clone(wrapped)
			b[i] ^= 1 << bit
			forged[fmt.Sprintf("octet %d bit %d", i, bit)] = b
		}
	}
	forged["one more"] = append(bytes.Clone(wrapped), 0)
	check := func(name string, key StateKey, place, b []byte) {
		t.Helper()
		got, err := Unwrap(key, place, b)
		if !errors.Is(err, ErrForged) || got != nil {
			t.Errorf("%s: %q, %v; want ErrForged", name, got, err)
		} else if !strings.Contains(err.Error(), string(place)) {
			t.Errorf("%s: %v does not name %q", name, err, place)
		}
	}
	for name, b := range forged {
		check(name, key, place, b)
	}
	check("another place", key, []byte("keys/qcd"), wrapped)
	check("a longer place", key, []byte("keys/ring2"), wrapped)
	check("another key", NewStateKey(), place, wrapped)
}

func TestParseStateKey(t *testing.T) {
	key := NewStateKey()
	digits := fmt.Sprintf("%x", key[:])
	for _, good := range []string{string(key[:]), digits, digits + "\n", digits + "\r\n", strings.ToUpper(digits)} {
		if got, err := ParseStateKey([]byte(good)); err != nil || got != key {
			t.Errorf("%d octets: %v", len(good), err)
		}
	}
	for _, bad := range []string{"", "\n", digits[1:], digits + "0", digits + " ", "g" + digits[1:], string(key[:31]), string(key[:]) + "\n" + "x"} {
		if got, err := ParseStateKey([]byte(bad)); err == nil || got != (StateKey{}) {
			t.Errorf("%q was taken for a key", bad)
		} else if len(bad) > 8 && strings.Contains(err.Error(), bad[:8]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

// TestStateKeyRedacted: no verb shows an octet of the key, alone or inside what
// holds one.
func TestStateKeyRedacted(t *testing.T) {
	key := StateKey(bytes.Repeat([]byte{0xA7}, 32))
	dir := &Dir{store: Seal(nil, key)}
	for _, v := range []any{key, &key, struct{ K StateKey }{key}, []StateKey{key}, Options{Key: &key},
		Seal(nil, key), *Seal(nil, key), NewPages(Seal(nil, key), "", 1), dir} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d", "%o", "%b"} {
			text := strings.ToLower(fmt.Sprintf(verb, v))
			for _, octet := range []string{"a7a7a7a7a7", "167 167", "0xa7, 0xa7", "0xa7,0xa7", "\xa7\xa7", `\xa7`, "247 247", "10100111 10100111"} {
				if strings.Contains(text, octet) {
					t.Errorf("%s of %T shows the key: %.80s", verb, v, text)
				}
			}
		}
	}
	if key.String() != redacted || key.GoString() != redacted {
		t.Error("not redacted")
	}
}

func FuzzUnwrap(f *testing.F) {
	key := StateKey{1}
	f.Add([]byte{})
	f.Add(Wrap(key, []byte("k"), []byte("plain")))
	f.Add(bytes.Repeat([]byte{wrapVersion}, WrapOverhead))
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := Unwrap(key, []byte("k"), b)
		if (err == nil) != (plain != nil) {
			t.Fatalf("%q, %v", plain, err)
		}
		if err == nil && len(plain)+WrapOverhead != len(b) {
			t.Fatalf("%d octets from %d", len(plain), len(b))
		}
	})
}

func BenchmarkWrap(b *testing.B) {
	key, place := NewStateKey(), []byte("rollcall/00")
	for _, n := range []int{64, 4096 * RollCallSize} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			plain := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				Wrap(key, place, plain)
			}
		})
	}
}
