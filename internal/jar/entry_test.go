package jar

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample() *Entry {
	return &Entry{
		Session:   []byte("session with a secret"),
		Ticket:    bytes.Repeat([]byte("ticket."), 60),
		Expires:   time.Unix(1800000000, 0),
		Gateways:  []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:500"), netip.MustParseAddrPort("[2001:db8::1]:4500")},
		Gateway:   netip.MustParseAddrPort("[fe80::1%eth0]:4500"),
		LocalPort: 4501,
		Profile:   [32]byte{1},
		PeerCert:  [32]byte{2},
		Anchor:    [32]byte{3},
		NotAfter:  time.Unix(1900000000, 0),
		Spent:     true,
	}
}

func TestEntryEncoding(t *testing.T) {
	for name, e := range map[string]*Entry{
		"full":    sample(),
		"least":   {Session: []byte{1}, Ticket: []byte{2}},
		"largest": {Session: make([]byte, MaxSession), Ticket: make([]byte, MaxTicket), Gateways: make([]netip.AddrPort, MaxGateways)},
	} {
		b := e.Append(nil)
		got, err := ParseEntry(b)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: %v, %+v", name, err, got)
			continue
		}
		if len(b) > maxFile {
			t.Errorf("%s: %d octets, more than is read", name, len(b))
		}
		clear(b)
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%s: the entry views what it was read from", name)
		}
	}
}

// resum puts the right check sum behind a body.
func resum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestParseEntryRefuses(t *testing.T) {
	good := sample().Append(nil)
	body := good[:len(good)-sha256.Size]
	for n := range good {
		if _, err := ParseEntry(good[:n]); err == nil {
			t.Errorf("the first %d octets were read", n)
		}
	}
	for n := fixed; n < len(body); n++ {
		if _, err := ParseEntry(resum(body[:n])); err == nil {
			t.Errorf("the first %d octets of the body were read", n)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, err := ParseEntry(bad); err == nil {
			t.Errorf("damage in octet %d was not seen", i)
		}
	}
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(body)
		copy(b[at:], to)
		return resum(b)
	}
	for name, row := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":              {nil, errMagic},
		"another file":         {bytes.Repeat([]byte("x"), 500), errMagic},
		"a newer version":      {change(len(magic), 2), errVersion},
		"spent neither way":    {change(len(magic)+1, 2), errEncoding},
		"a time after all":     {change(len(magic)+4, 0xff, 0xff, 0xff, 0xff), errEncoding},
		"octets behind":        {resum(append(bytes.Clone(body), 0)), errEncoding},
		"no session":           {(&Entry{Ticket: []byte{1}}).Append(nil), errEncoding},
		"no ticket":            {(&Entry{Session: []byte{1}}).Append(nil), errEncoding},
		"a ticket too long":    {(&Entry{Session: []byte{1}, Ticket: make([]byte, MaxTicket+1)}).Append(nil), errEncoding},
		"a session too long":   {(&Entry{Session: make([]byte, MaxSession+1), Ticket: []byte{1}}).Append(nil), errEncoding},
		"too many gateways":    {(&Entry{Session: []byte{1}, Ticket: []byte{1}, Gateways: make([]netip.AddrPort, MaxGateways+1)}).Append(nil), errEncoding},
		"longer than any file": {make([]byte, maxFile+1), errMagic},
	} {
		if _, err := ParseEntry(row.b); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

func TestEntryRedacted(t *testing.T) {
	e := sample()
	e.Ticket = []byte("the ticket itself")
	want := "ticket of 17 octets for [fe80::1%eth0]:4500 until 2027-01-15T08:00:00Z"
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		for _, got := range []string{fmt.Sprintf(verb, e), fmt.Sprintf(verb, *e)} {
			if got != want {
				t.Errorf("%s: %s", verb, got)
			}
		}
		if got := fmt.Sprintf(verb, []*Entry{e}); strings.Contains(got, "secret") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

// FuzzEntry: damage is an error, what is read is written alike again, and the
// check sum is not what keeps it from panic.
func FuzzEntry(f *testing.F) {
	f.Add(sample().Append(nil))
	f.Add((&Entry{Session: []byte{1}, Ticket: []byte{2}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, resum(b), resum(b[:max(0, len(b)-sha256.Size)])} {
			e, err := ParseEntry(b)
			if err != nil {
				continue
			}
			if again := e.Append(nil); !bytes.Equal(again, b) {
				t.Errorf("%x is written as %x", b, again)
			}
		}
	})
}
