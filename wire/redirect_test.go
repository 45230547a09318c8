package wire

import (
	"bytes"
	"testing"
)

func TestRedirect(t *testing.T) {
	nonce := bytes.Repeat([]byte{7}, 16)
	for _, c := range []struct {
		section string
		data    []byte
		want    string
		err     error
	}{
		{"9.2 IPv4", []byte{1, 4, 192, 0, 2, 1}, "192.0.2.1", nil},
		{"9.2 IPv6", []byte{2, 16, 0x20, 1, 0xd, 0xb8, 17: 1}, "2001:db8::1", nil},
		{"9.2 FQDN", []byte("\x03\x08gw.test."), "gw.test.", nil},
		{"9.2 FQDN that would break a log", []byte("\x03\x03a\nb"), `"a\nb"`, nil},
		{"9.2 with a nonce", append([]byte{1, 4, 192, 0, 2, 1}, nonce...), "192.0.2.1", nil},
		{"9.2 of an unknown type", []byte{9, 1, 1}, "gateway of type 9", nil},
		{"9.2 nonce of 15 octets", append([]byte{1, 4, 192, 0, 2, 1}, nonce[:15]...), "", ErrNonce},
		{"9.2 nonce of 257 octets", append([]byte{1, 4, 192, 0, 2, 1}, make([]byte, 257)...), "", ErrNonce},
		{"9.2 IPv4 of five octets", []byte{1, 5, 192, 0, 2, 1, 1}, "", ErrIdentity},
		{"9.2 IPv6 of four", []byte{2, 4, 192, 0, 2, 1}, "", ErrIdentity},
		{"9.2 nobody", []byte{3, 0}, "", ErrIdentity},
		{"9.2 cut", []byte{1, 4, 192, 0, 2}, "", ErrShort},
		{"9.2 nothing", nil, "", ErrShort},
	} {
		r, err := ParseRedirect(c.data)
		if err != c.err || err == nil && r.String() != c.want {
			t.Errorf("%s: %v, %v", c.section, r, err)
		}
		if err == nil && !bytes.Equal(r.Append(nil), c.data) {
			t.Errorf("%s: written as %x", c.section, r.Append(nil))
		}
	}
	for _, gateway := range []string{"192.0.2.1", "2001:db8::1", "gw.test"} {
		if r := RedirectTo(gateway); r.String() != gateway || len(r.Nonce) != 0 {
			t.Errorf("%s became %v", gateway, r)
		}
	}
	if r := RedirectTo("::ffff:192.0.2.1"); r.Type != GatewayIPv4 {
		t.Error("a mapped address became", r)
	}
}

func FuzzRedirect(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRedirect(data)
		if err != nil {
			return
		}
		if got := r.Append(nil); !bytes.Equal(got, data) {
			t.Fatalf("%x became %x", data, got)
		}
		if s := r.String(); s == "" || !oneLine(s) {
			t.Fatalf("%x prints as %q", data, s)
		}
		if a, ok := r.Addr(); ok && a.BitLen()/8 != len(r.Identity) {
			t.Fatalf("%x is the address %v", data, a)
		}
	})
}
