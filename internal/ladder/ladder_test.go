package ladder

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"blackswan/internal/suite"
	"blackswan/wire"
)

var (
	gcm = suite.Suite{Encr: wire.ENCRAESGCM16, KeyBits: 256, Integ: wire.INTEGNone, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}
	cbc = suite.Suite{Encr: wire.ENCRAESCBC, KeyBits: 128, Integ: wire.INTEGHMACSHA256, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519}
)

func keysOf(s suite.Suite) Keys {
	octets := func(n int, fill byte) []byte { return bytes.Repeat([]byte{fill}, n) }
	return Keys{
		Suite: s, EI: octets(s.KeyLen(), 1), ER: octets(s.KeyLen(), 2), AI: octets(s.IntegLen(), 3), AR: octets(s.IntegLen(), 4),
	}
}

// informational is an encrypted INFORMATIONAL {N(TICKET_REQUEST), N(QCD_TOKEN)}.
func informational(t *testing.T, k Keys, flags wire.Flags) []byte {
	t.Helper()
	w := wire.NewWriter(nil, wire.Header{SPIi: 1, SPIr: 2, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: flags, MessageID: 2})
	w.StartSK(k.Suite.IVLen())
	from := len(w.Buf)
	w.Notify(wire.Notify{Type: wire.NotifyTicketRequest})
	w.Notify(wire.Notify{Type: wire.NotifyQCDToken, Data: make([]byte, 32)})
	to := len(w.Buf)
	w.CloseSK(k.Suite.Trailer(to - from))
	m := w.Finish()
	ek, ak := k.ER, k.AR
	if flags&wire.FlagInitiator != 0 {
		ek, ak = k.EI, k.AI
	}
	var box suite.Box
	if err := box.Seal(k.Suite, ek, ak, m, from-k.Suite.IVLen(), from, to, make([]byte, k.Suite.IVLen())); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAppend(t *testing.T) {
	ring := func(k Keys) KeyRing {
		return func(s wire.SPIs) (Keys, bool) { return k, s == wire.SPIs{I: 1, R: 2} }
	}
	w := wire.NewWriter(nil, wire.Header{SPIi: 1, SPIr: 2, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagResponse})
	w.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI})
	clearMessage := w.Finish()
	for _, row := range []struct {
		name    string
		message []byte
		keys    KeyRing
		want    string
	}{
		{"clear", clearMessage, nil, "INFORMATIONAL {N(INVALID_IKE_SPI)}"},
		{"clear, with keys", clearMessage, ring(keysOf(gcm)), "INFORMATIONAL {N(INVALID_IKE_SPI)}"},
		{"GCM of the initiator", informational(t, keysOf(gcm), wire.FlagInitiator), ring(keysOf(gcm)), "INFORMATIONAL SK {N(TICKET_REQUEST), N(QCD_TOKEN)}"},
		{"GCM of the responder", informational(t, keysOf(gcm), wire.FlagResponse), ring(keysOf(gcm)), "INFORMATIONAL SK {N(TICKET_REQUEST), N(QCD_TOKEN)}"},
		{"CBC", informational(t, keysOf(cbc), wire.FlagInitiator), ring(keysOf(cbc)), "INFORMATIONAL SK {N(TICKET_REQUEST), N(QCD_TOKEN)}"},
		{"no ring", informational(t, keysOf(gcm), wire.FlagInitiator), nil, "INFORMATIONAL SK {...}"},
		{"no keys of this SA", informational(t, keysOf(gcm), 0), func(wire.SPIs) (Keys, bool) { return Keys{}, false }, "INFORMATIONAL SK {...}"},
		{"wrong keys", informational(t, keysOf(gcm), wire.FlagInitiator), ring(keysOf(cbc)), "INFORMATIONAL SK {...}"},
		{"cut", clearMessage[:20], nil, "no IKE message"},
	} {
		before := bytes.Clone(row.message)
		if got := string(Append(nil, row.message, row.keys)); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
		if !bytes.Equal(before, row.message) {
			t.Errorf("%s: the message was changed", row.name)
		}
	}
}

func TestKeysAreRedacted(t *testing.T) {
	k := keysOf(gcm)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		for _, v := range []any{k, &k} {
			if got := strings.TrimPrefix(fmt.Sprintf(verb, v), "&"); got != "redacted" {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
	}
}

func TestWrite(t *testing.T) {
	start := time.Unix(1000, 0)
	after := func(us int) time.Time { return start.Add(time.Duration(us) * time.Microsecond) }
	var b strings.Builder
	err := Write(&b, start, []Rung{
		{At: start, Out: true, Octets: 244, Text: "IKE_SA_INIT {SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), V}"},
		{At: after(1250), Octets: 76, Text: "INFORMATIONAL {N(INVALID_IKE_SPI), N(QCD_TOKEN)}"},
		{At: after(2_000_000), Text: "the gateway is killed"},
		{At: after(2_000_100), Out: true, Octets: 30, Text: strings.Repeat("x", 90)},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "" +
		"     0.0 ms  -> IKE_SA_INIT {SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP),              244 octets\n" +
		"                    N(NAT_DETECTION_DESTINATION_IP), V}\n" +
		"     1.2 ms  <- INFORMATIONAL {N(INVALID_IKE_SPI), N(QCD_TOKEN)}                      76 octets\n" +
		"  2000.0 ms  -- the gateway is killed\n" +
		"  2000.1 ms  -> " + strings.Repeat("x", 90) + "   30 octets\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
