package ticket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// skd is SK_d of the sessions in these tests.
var skd = SKd(bytes.Repeat([]byte{0xd5}, 32))

// typical is a PSK session with two names of 20 octets.
func typical() Session {
	return Session{
		IDi:        ID{Type: 2, Data: []byte("alice.of.example.org")},
		IDr:        ID{Type: 2, Data: []byte("gatew.of.example.org")},
		MethodI:    2,
		MethodR:    2,
		Suite:      Suite{Encr: 20, KeyBits: 256, PRF: 5, KE: 31},
		SKd:        skd,
		SPIi:       0x1122334455667788,
		SPIr:       0x99aabbccddeeff00,
		Lineage:    [16]byte{0: 3, 15: 0xa5},
		Serial:     7,
		Issued:     start,
		Expires:    start + 3600,
		FullAuth:   start - 100,
		LastKE:     start - 50,
		Reauth:     start + 9000,
		Connection: []byte("roadwarriors"),
	}
}

// full has a value in every field.
func full() Session {
	s := typical()
	s.Identity = []byte("\x03alice@example.org")
	s.AuthForm = 1
	s.Suite = Suite{Encr: 12, KeyBits: 128, Integ: 12, PRF: 7, KE: 19, AdditionalKE: [7]uint16{35, 0, 36}}
	s.SKd = bytes.Repeat([]byte{0xd5}, 64)
	s.PeerCert = PeerCert{Issuer: []byte("CN=ca"), Serial: []byte{1, 2, 3}, NotAfter: start + 86400, Anchor: [32]byte{9}}
	s.PeerAddr = netip.MustParseAddr("192.0.2.9")
	s.PPKID = []byte("ppk-1")
	s.RADIUS = RADIUS{
		Class: []byte{25, 4, 'x', 'y'}, Group: []byte("staff"), AcctSessionID: []byte("0001"),
		SessionStart: start - 1000, SessionTimeout: 7200, IdleTimeout: 600,
	}
	s.Inner4, s.Inner6 = netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("2001:db8::7")
	return s
}

// start is the time of these tests, in Unix seconds.
const start = int64(1_800_000_000)

// random fills every field of a session at random: absent, short or long.
func random(r *rand.Rand) Session {
	octets := func(max int) []byte {
		n := r.IntN(max + 1)
		if n == 0 || r.IntN(4) == 0 {
			return nil
		}
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	moment := func() int64 { return r.Int64N(maxTime+1) * int64(r.IntN(2)) }
	address := func() netip.Addr {
		switch b := octets(16); len(b) {
		case 0:
			return netip.Addr{}
		case 16:
			return netip.AddrFrom16([16]byte(b))
		default:
			return netip.AddrFrom4([4]byte{b[0], 1, 2, 3})
		}
	}
	s := Session{
		IDi: ID{byte(r.Uint32()), octets(300)}, IDr: ID{byte(r.Uint32()), octets(300)},
		Identity: octets(100), MethodI: byte(r.Uint32()), MethodR: byte(r.Uint32()), AuthForm: byte(r.Uint32()),
		Suite: Suite{Encr: uint16(r.Uint32()), KeyBits: uint16(r.Uint32()), Integ: uint16(r.Uint32()), PRF: uint16(r.Uint32()), KE: uint16(r.Uint32())},
		SKd:   append(octets(63), 1), SPIi: r.Uint64(), SPIr: r.Uint64(), Serial: r.Uint32(),
		Issued: moment(), Expires: moment(), FullAuth: moment(), LastKE: moment(), Reauth: moment(),
		Connection: octets(64), PeerCert: PeerCert{Issuer: octets(500), Serial: octets(20), NotAfter: moment()},
		PeerAddr: address(), PPKID: octets(40),
		RADIUS: RADIUS{octets(253), octets(30), octets(30), moment(), r.Uint32() * r.Uint32N(2), r.Uint32() * r.Uint32N(2)},
		Inner4: address(), Inner6: address(),
	}
	copy(s.Lineage[:], octets(16))
	copy(s.PeerCert.Anchor[:], octets(32))
	for i := range r.IntN(8) {
		s.Suite.AdditionalKE[i] = uint16(r.Uint32N(3))
	}
	return s
}

// same compares two sessions field by field; nil and empty are one.
func same(a, b Session) bool {
	for _, s := range []*Session{&a, &b} {
		for _, id := range []*ID{&s.IDi, &s.IDr} {
			id.Data = append([]byte{}, id.Data...)
		}
	}
	return reflect.DeepEqual(a, b)
}

// TestRFC5723_6_1_TicketHoldsTheStateOfSection5 names every field: one that is
// added to Session and not to its encoding fails here.
func TestRFC5723_6_1_TicketHoldsTheStateOfSection5(t *testing.T) {
	s := full()
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("this test gives no value to %s", v.Type().Field(i).Name)
		}
	}
	var got Session
	if err := ParseSession(s.Append(nil), &got); err != nil {
		t.Fatal(err)
	}
	w := reflect.ValueOf(got)
	for i := range v.NumField() {
		if !reflect.DeepEqual(v.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s: %+v comes back as %+v", v.Type().Field(i).Name, v.Field(i), w.Field(i))
		}
	}
}

// TestRFC5723_5_Notes: what the notes below the table ask for, each alone.
func TestRFC5723_5_Notes(t *testing.T) {
	for name, set := range map[string]func(s *Session){
		"note 1: authenticated identity": func(s *Session) { s.Identity = full().Identity },
		"note 2: certificate":            func(s *Session) { s.PeerCert = full().PeerCert },
		"note 3: iPAddress":              func(s *Session) { s.PeerAddr = full().PeerAddr },
		"note 4: old SPIs":               func(s *Session) { s.SPIi, s.SPIr = 1, 2 },
		"note 5: inner addresses":        func(s *Session) { s.Inner4, s.Inner6 = full().Inner4, full().Inner6 },
	} {
		s := typical()
		set(&s)
		var got Session
		if err := ParseSession(s.Append(nil), &got); err != nil || !same(s, got) || same(got, typical()) {
			t.Errorf("%s does not come back: %v, %+v", name, err, got)
		}
	}
}

func TestSessionRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		s := random(r)
		b := s.Append([]byte("kept"))
		if string(b[:4]) != "kept" {
			t.Fatal("Append overwrote what was there")
		}
		b = b[4:]
		var got Session
		if err := ParseSession(b, &got); err != nil || !same(s, got) {
			t.Fatalf("session %d: %v\n%+v\n%+v", i, err, s, got)
		}
		if again := got.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("session %d has two encodings", i)
		}
	}
}

func TestNoPrefixParses(t *testing.T) {
	for _, s := range []Session{typical(), full()} {
		b := s.Append(nil)
		for n := range b {
			var got Session
			if err := ParseSession(b[:n], &got); err != ErrFormat || !reflect.ValueOf(got).IsZero() {
				t.Fatalf("%d of %d octets: %v, %+v", n, len(b), err, got)
			}
		}
	}
}

func TestParseSessionIsStrict(t *testing.T) {
	s := typical()
	s.Connection = nil
	bare := s.Append(nil)
	long := s
	long.SKd = make(SKd, 65)
	field := func(tag byte, value ...byte) []byte { return append([]byte{tag, 0, byte(len(value))}, value...) }
	fields := func(all ...[]byte) []byte {
		f := bytes.Join(all, nil)
		b := bytes.Clone(bare[:len(bare)-2])
		return append(binary.BigEndian.AppendUint16(b, uint16(len(f))), f...)
	}
	change := func(at int, v byte) []byte { b := bytes.Clone(bare); b[at] = v; return b }
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"bare", bare, true},
		{"version", change(0, 2), false},
		{"SK_d of 65", long.Append(nil), false},
		{"SK_d of 0", change(fixedSize, 0), false},
		{"IDi too long", change(fixedSize+1+32+1, 1), false},
		{"one octet more", append(bytes.Clone(bare), 1), false},
		{"fields too short", change(len(bare)-1, 1), false},
		{"one octet of field", fields([]byte{1}), false},
		{"tag 0", fields(field(0, 'x')), false},
		{"empty field", fields(field(tagConnection)), false},
		{"field cut", fields(field(tagConnection, 'x', 'y')[:4]), false},
		{"tags descend", fields(field(tagIdentity, 'x'), field(tagConnection, 'x')), false},
		{"tag twice", fields(field(tagConnection, 'x'), field(tagConnection, 'x')), false},
		{"unknown tag, optional", fields(field(tagConnection, 'x'), field(127, 1, 2)), true},
		{"unknown tag, must know", fields(field(128, 1)), false},
		{"additional KE of 16", fields(field(tagAdditionalKE, make([]byte, 16)...)), false},
		{"additional KE of 3 octets", fields(field(tagAdditionalKE, 0, 1, 0)), false},
		{"additional KE of 1 octet", fields(field(tagAdditionalKE, 1)), false},
		{"additional KE ends with none", fields(field(tagAdditionalKE, 0, 1, 0, 0)), false},
		{"time of 4", fields(field(tagCertNotAfter, 0, 0, 0, 1)), false},
		{"time 0", fields(field(tagSessionStart, 0, 0, 0, 0, 0)), false},
		{"number of 5", fields(field(tagIdleTimeout, 0, 0, 0, 0, 1)), false},
		{"number 0", fields(field(tagSessionTimeout, 0, 0, 0, 0)), false},
		{"anchor of 31", fields(field(tagCertAnchor, make([]byte, 31)...)), false},
		{"anchor of 33", fields(field(tagCertAnchor, make([]byte, 33)...)), false},
		{"address of 5", fields(field(tagInner4, 1, 2, 3, 4, 5)), false},
	} {
		var got Session
		if err := ParseSession(c.b, &got); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Dates outside of 40 bits become the nearest that is not: a date in the far
// future or past means the same.
func TestTimesAreBounded(t *testing.T) {
	s := typical()
	s.Reauth, s.LastKE = 1<<50, -1
	var got Session
	if err := ParseSession(s.Append(nil), &got); err != nil || got.Reauth != maxTime || got.LastKE != 0 {
		t.Errorf("%v: Reauth %d, LastKE %d", err, got.Reauth, got.LastKE)
	}
}

func TestSKdIsRedacted(t *testing.T) {
	s := full()
	for _, v := range []any{s, &s, s.SKd, &s.SKd, []Session{s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d"} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(strings.ToLower(text), "d5d5") || strings.Contains(text, "213 213") || strings.Contains(text, "0xd5, 0xd5") || strings.Contains(text, "\xd5\xd5") {
				t.Errorf("%s of %T shows SK_d: %s", verb, v, text)
			}
		}
	}
	if s.SKd.String() != "redacted" || s.SKd.GoString() != "redacted" || fmt.Sprint(s.SKd) != "redacted" {
		t.Error("SK_d does not print as redacted")
	}
}

func TestSessionAllocatesNothing(t *testing.T) {
	s := full()
	b := s.Append(nil)
	buf := make([]byte, 0, len(b))
	if n := testing.AllocsPerRun(100, func() { buf = s.Append(buf[:0]); ParseSession(b, &s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseSession(f *testing.F) {
	for _, s := range []Session{typical(), full()} {
		f.Add(s.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Session
		if ParseSession(b, &s) != nil {
			return
		}
		if err := ParseSession(s.Append(nil), &again); err != nil || !same(s, again) {
			t.Errorf("%x: %v, %+v comes back as %+v", b, err, s, again)
		}
	})
}
