package proxy

import (
	"bytes"
	"net/netip"
	"testing"
)

// FuzzHandshake reads a greeting and a request, and holds what was understood
// against the octets that were taken.
func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{
		"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50rest",
		"\x05\x02\x00\x02\x05\x03\x00\x03\x04host\x00\x50",
		"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50",
		"\x05\x00\x04\x01",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		from := bytes.NewReader(in)
		methods, err := readMethods(from)
		if err != nil {
			return
		}
		r, err := readRequest(from)
		if err != nil {
			return
		}
		taken := in[:len(in)-from.Len()]
		head := append([]byte{version, byte(len(methods))}, methods...)
		head = append(head, version, r.command, taken[len(head)+2]) // the reserved octet is any
		if !bytes.Equal(taken, append(head, encoded(t, r.to, taken[len(head)])...)) {
			t.Errorf("%x was taken for %+v", taken, r)
		}
	})
}

// FuzzDatagram does the same with the header of a datagram.
func FuzzDatagram(f *testing.F) {
	for _, seed := range []string{
		"\x00\x00\x00\x01\xc0\x00\x02\x01\x00\x35rest",
		"\x00\x00\x00\x03\x04host\x00\x35",
		"\x00\x00\x01\x01\xc0\x00\x02\x01\x00\x35rest",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		to, data, err := parseDatagram(in)
		if err != nil {
			return
		}
		if head := in[:len(in)-len(data)]; !bytes.HasSuffix(in, data) || !bytes.Equal(head[3:], encoded(t, to, head[3])) {
			t.Errorf("%x was taken for %+v and %x", in, to, data)
		}
	})
}

// encoded is an address as a client writes it in that type.
func encoded(t *testing.T, a address, kind byte) []byte {
	b := []byte{kind}
	switch kind {
	case typeIPv4:
		b = append(b, netip.MustParseAddr(a.host).AsSlice()...)
	case typeIPv6:
		as16 := netip.MustParseAddr(a.host).As16()
		b = append(b, as16[:]...)
	case typeName:
		b = append(append(b, byte(len(a.host))), a.host...)
	default:
		t.Fatalf("address type %d was taken", kind)
	}
	return append(b, byte(a.port>>8), byte(a.port))
}
