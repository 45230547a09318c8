package ticket

import (
	"bytes"
	"testing"
)

var id16 = [16]byte{1, 2, 3, 15: 16}

func TestD2_Reference(t *testing.T) {
	r := ring(t, oneKey(0xa1b2c3d4, 5))
	b, err := r.SealRef([]byte("kept"), id16, start)
	if err != nil || string(b[:4]) != "kept" {
		t.Fatal(err)
	}
	b = b[4:]
	if len(b) != RefSize || !bytes.Equal(b[:21], append([]byte{2, 0xa1, 0xb2, 0xc3, 0xd4}, id16[:]...)) {
		t.Fatalf("%x", b)
	}
	if id, err := r.OpenRef(b); err != nil || id != id16 {
		t.Errorf("%x, %v", id, err)
	}
	// Another shard and another start know it too.
	if id, err := ring(t, oneKey(0xa1b2c3d4, 5)).OpenRef(b); err != nil || id != id16 {
		t.Errorf("in another ring: %x, %v", id, err)
	}
	if _, err := ring(t, nil).SealRef(nil, id16, start); err != ErrNoKey {
		t.Errorf("without keys: %v", err)
	}
}

// TestRFC5723_6_1_ReferenceIsIntegrityProtected: the store is never asked for a
// reference that we did not make.
func TestRFC5723_6_1_ReferenceIsIntegrityProtected(t *testing.T) {
	keys := oneKey(1, 5)
	r := ring(t, keys)
	b, _ := r.SealRef(nil, id16, start)
	for i := range b {
		for bit := range 8 {
			forged := bytes.Clone(b)
			forged[i] ^= 1 << bit
			want := ErrForged
			switch {
			case i == 0:
				want = ErrFormat
			case i < 5:
				want = ErrUnknownKey
			}
			if id, err := r.OpenRef(forged); err != want || id != [16]byte{} {
				t.Fatalf("bit %d of octet %d: %x, %v; want %v", bit, i, id, err, want)
			}
		}
	}
	for n := range b {
		if _, err := r.OpenRef(b[:n]); err != ErrFormat {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	if _, err := r.OpenRef(append(bytes.Clone(b), 0)); err != ErrFormat {
		t.Errorf("an octet more: %v", err)
	}
	if _, err := ring(t, oneKey(1, 6)).OpenRef(b); err != ErrForged {
		t.Errorf("of another gateway: %v", err)
	}
	// A ring of several keys uses the one that is named.
	both := ring(t, append(oneKey(2, 6), keys...))
	if id, err := both.OpenRef(b); err != nil || id != id16 {
		t.Errorf("among two keys: %x, %v", id, err)
	}
}

func TestForm(t *testing.T) {
	r := ring(t, oneKey(1, 5))
	ref, _ := r.SealRef(nil, id16, start)
	value := sealed(t, r, typical(), source(1))
	var s Session
	if _, err := r.OpenRef(value); err != ErrFormat {
		t.Errorf("a value as a reference: %v", err)
	}
	if err := r.Open(&s, ref, start); err != ErrFormat {
		t.Errorf("a reference as a value: %v", err)
	}
	for name, c := range map[string]struct {
		t    []byte
		want Kind
	}{
		"value":            {value, ByValue},
		"reference":        {ref, ByReference},
		"none":             {nil, NotOurs},
		"version 0":        {make([]byte, 64), NotOurs},
		"version 3":        {append([]byte{3}, make([]byte, 63)...), NotOurs},
		"reference of 64":  {append([]byte{2}, make([]byte, 63)...), NotOurs},
		"value of 37":      {append([]byte{1}, make([]byte, 36)...), NotOurs},
		"value of 960":     {append([]byte{1}, make([]byte, 959)...), NotOurs},
		"libreswan's, 400": {bytes.Repeat([]byte{0xff}, 400), NotOurs},
	} {
		if got := Form(c.t); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
