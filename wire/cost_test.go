package wire

import (
	"net/netip"
	"strings"
	"testing"
)

// reading is what the hot paths do with a message: none of it may allocate.
var reading = []struct {
	name  string
	frame string // beginning of the ladder line of the captured message
	read  func(first PayloadType, b []byte) int
}{
	{"Walk", "IKE_SA_INIT {SAi1", walkAll},
	{"SA", "IKE_SA_INIT {SAi1", readSA},
	{"TS", "IKE_AUTH SK {IDi", readTS},
	{"CP", "IKE_AUTH SK {IDi, IDr, AUTH, CP", readCP},
	{"typed", "IKE_AUTH SK {IDi, N(INITIAL_CONTACT), CERTREQ", readTyped},
}

func walkAll(first PayloadType, b []byte) int {
	n := 0
	walk := Walk(first, b)
	for p, ok := walk.Next(); ok; p, ok = walk.Next() {
		n += len(p.Body)
	}
	if walk.Err() != nil {
		return 0
	}
	return n
}

// body is that of the first payload of type want.
func body(want, first PayloadType, b []byte) []byte {
	walk := Walk(first, b)
	for p, ok := walk.Next(); ok; p, ok = walk.Next() {
		if p.Type == want {
			return p.Body
		}
	}
	return nil
}

func readSA(first PayloadType, b []byte) int {
	n := 0
	sa, err := ParseSA(body(PayloadSA, first, b))
	if err != nil {
		return 0
	}
	for p := range sa.Proposals() {
		for t := range p.Transforms() {
			n += int(t.Type) + int(t.ID)
		}
	}
	return n
}

func readTS(first PayloadType, b []byte) int {
	n := 0
	ts, err := ParseTS(body(PayloadTSi, first, b))
	if err != nil {
		return 0
	}
	for s := range ts.Selectors() {
		n += int(s.EndPort) + s.End.BitLen()
	}
	return n
}

func readCP(first PayloadType, b []byte) int {
	n := 0
	cp, err := ParseCP(body(PayloadCP, first, b))
	if err != nil {
		return 0
	}
	for a := range cp.Attributes() {
		n += int(a.Type) + len(a.Value)
	}
	return n
}

// readTyped reads what an IKE_AUTH request has of payloads without parts.
func readTyped(first PayloadType, b []byte) int {
	n := 0
	walk := Walk(first, b)
	for p, ok := walk.Next(); ok; p, ok = walk.Next() {
		switch p.Type {
		case PayloadIDi, PayloadIDr:
			id, _ := ParseID(p.Body)
			n += len(id.Data)
		case PayloadAUTH:
			auth, _ := ParseAuth(p.Body)
			n += len(auth.Data)
		case PayloadCERTREQ:
			req, _ := ParseCertReq(p.Body)
			n += len(req.Hashes)
		case PayloadNotify:
			notify, _ := ParseNotify(p.Body)
			n += len(notify.Data)
		}
	}
	return n
}

// captured is the chain of the first captured message whose ladder begins so.
func captured(t testing.TB, ladder string) (PayloadType, []byte) {
	t.Helper()
	for _, c := range captures(t) {
		switch {
		case !strings.HasPrefix(c.ladder, ladder):
		case c.plain != nil:
			return c.first, c.plain
		default:
			return c.header(t).NextPayload, c.msg[HeaderLen:]
		}
	}
	t.Fatalf("no captured %s", ladder)
	return 0, nil
}

var sink int

func TestReadingAllocatesNothing(t *testing.T) {
	for _, r := range reading {
		first, b := captured(t, r.frame)
		if r.read(first, b) == 0 {
			t.Fatalf("%s: nothing read of %s", r.name, r.frame)
		}
		if n := testing.AllocsPerRun(100, func() { sink += r.read(first, b) }); n != 0 {
			t.Errorf("%s: %v allocations", r.name, n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, r := range reading {
		b.Run(r.name, func(b *testing.B) {
			first, chain := captured(b, r.frame)
			b.ReportAllocs()
			for b.Loop() {
				sink += r.read(first, chain)
			}
		})
	}
}

var (
	costNonce  = make([]byte, 32)
	costPublic = make([]byte, 32)
	costSA     = []ProposalSpec{{Num: 1, Protocol: ProtocolIKE, Transforms: []Transform{
		{Type: TransformENCR, ID: ENCRAESGCM16, KeyBits: 256}, {Type: TransformPRF, ID: PRFHMACSHA384}, {Type: TransformKE, ID: KEX25519},
	}}}
	costTS = []Selector{Prefix(netip.MustParsePrefix("0.0.0.0/0")), Prefix(netip.MustParsePrefix("::/0"))}
	costCP = []CPAttribute{{Type: CPInternalIP4Address}, {Type: CPInternalIP4DNS}, {Type: CPInternalIP6Address}}
)

func writeInit(dst []byte) []byte {
	w := NewWriter(dst, Header{SPIi: 1, Version: Version, Exchange: ExchangeIKESAInit, Flags: FlagInitiator})
	w.SA(costSA...)
	w.KE(KE{Group: KEX25519, Data: costPublic})
	w.Nonce(costNonce)
	w.Notify(Notify{Type: NotifyNATDetectionSourceIP, Data: costNonce[:20]})
	w.Notify(Notify{Type: NotifyNATDetectionDestinationIP, Data: costNonce[:20]})
	return w.Finish()
}

func writeAuth(dst []byte) []byte {
	w := NewWriter(dst, Header{SPIi: 1, SPIr: 2, Version: Version, Exchange: ExchangeIKEAuth, Flags: FlagInitiator, MessageID: 1})
	w.StartSK(8)
	w.ID(PayloadIDi, ID{Type: IDKeyID, Data: costNonce})
	w.Auth(Auth{Method: AuthSharedKey, Data: costNonce})
	w.CP(CFGRequest, costCP)
	w.TS(PayloadTSi, costTS)
	w.TS(PayloadTSr, costTS)
	w.CloseSK(17)
	return w.Finish()
}

var writing = []struct {
	name  string
	write func(dst []byte) []byte
}{
	{"IKE_SA_INIT", writeInit},
	{"IKE_AUTH", writeAuth},
}

func TestWritingAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 2048)
	for _, w := range writing {
		if h, err := ParseHeader(w.write(buf)); err != nil || h.Length < 100 {
			t.Fatalf("%s: %v %v", w.name, h, err)
		}
		if n := testing.AllocsPerRun(100, func() { sink += len(w.write(buf)) }); n != 0 {
			t.Errorf("%s: %v allocations", w.name, n)
		}
	}
}

// A parser's refusal must cost as little as its consent: strangers choose.
func TestErrorsAllocateNothing(t *testing.T) {
	for _, c := range captures(t)[:4] {
		first, b := c.header(t).NextPayload, c.msg[HeaderLen:]
		for n := range b {
			if got := testing.AllocsPerRun(1, func() { sink += walkAll(first, b[:n]) + readSA(first, b[:n]) }); got != 0 {
				t.Fatalf("%s: %v allocations for the first %d octets", c.where, got, n)
			}
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	buf := make([]byte, 0, 2048)
	for _, w := range writing {
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink += len(w.write(buf))
			}
		})
	}
}

func BenchmarkLadder(b *testing.B) {
	c := captures(b)[0]
	h, line := c.header(b), make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		line = AppendLadder(line[:0], h, c.msg[HeaderLen:], nil)
	}
}
