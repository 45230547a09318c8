package qcd

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

// counted is a predictable reader: octets 0, 1, 2, ...
type counted struct{ next byte }

func (c *counted) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

// broken is a source of randomness that has none.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, fmt.Errorf("no entropy") }

// made makes n generations, the last one current.
func made(t testing.TB, n int) Generations {
	t.Helper()
	rand := &counted{}
	g, err := NewGenerations(rand)
	for range n - 1 {
		if err == nil {
			err = g.Rotate(rand, func(uint8) bool { return false })
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func token(t testing.TB, m *Maker, generation uint8, spii, spir uint64) []byte {
	t.Helper()
	tok, ok := m.Token(nil, generation, spii, spir)
	if !ok {
		t.Fatal("no token")
	}
	return tok
}

const (
	spii = 0x1122334455667788
	spir = 0x99aabbccddeeff00
)

func TestRFC6290_5_1_TokenIsAKeyedHashOfBothSPIs(t *testing.T) {
	g := made(t, 2)
	for generation := range uint8(2) {
		mac := hmac.New(sha256.New, g.Secrets[generation][:])
		binary.Write(mac, binary.BigEndian, []uint64{spii, spir})
		want := append([]byte("kept"), mac.Sum(nil)...)
		got, ok := NewMaker(g).Token([]byte("kept"), generation, spii, spir)
		if !ok || !bytes.Equal(got, want) {
			t.Errorf("generation %d: %x, %v; want %x", generation, got, ok, want)
		}
	}
	// Pinned: the program that comes after the crash may be a newer one.
	const pinned = "d33a27dc6578ed01a6079492341c8269c70ce0157bf5cbc576fc23a26383a89e"
	if got := hex.EncodeToString(token(t, NewMaker(g), 0, spii, spir)); got != pinned {
		t.Errorf("token %s, pinned is %s", got, pinned)
	}
}

func TestRFC6290_1_1_SameTokenAfterARestart(t *testing.T) {
	g := made(t, 3)
	m := NewMaker(g)
	var before [30][]byte
	for i := range before {
		before[i] = token(t, m, uint8(i%3), spii+uint64(i), spir)
	}
	after, err := ParseGenerations(g.Append(nil)) // all that is left
	if err != nil {
		t.Fatal(err)
	}
	m = NewMaker(after)
	for i, want := range slices.Backward(before[:]) { // whoever asks first
		if got := token(t, m, uint8(i%3), spii+uint64(i), spir); !bytes.Equal(got, want) {
			t.Errorf("SA %d: after the restart %x, before %x", i, got, want)
		}
	}
}

func TestRFC6290_5_TokenLength(t *testing.T) {
	if n := len(token(t, NewMaker(made(t, 1)), 0, 1, 2)); n != TokenSize || n < MinToken || n > MaxToken {
		t.Errorf("%d octets, RFC 6290 5 allows 16 to 128, ours has %d", n, TokenSize)
	}
}

// TestRFC6290_5_TokensDoNotCollide: pairs that are alike have tokens that are
// not: each differs from the others, and by half its bits from its neighbour.
func TestRFC6290_5_TokensDoNotCollide(t *testing.T) {
	m := NewMaker(made(t, 4))
	seen := make(map[string]string)
	var last []byte
	flips, n := 0, 0
	for generation := range uint8(4) {
		for i := range uint64(60) {
			for j := range uint64(60) {
				tok, who := token(t, m, generation, i, j), fmt.Sprint(generation, i, j)
				if seen[string(tok)] != "" {
					t.Fatalf("%s and %s share a token", who, seen[string(tok)])
				}
				seen[string(tok)] = who
				for k := range last {
					flips += bits.OnesCount8(tok[k] ^ last[k])
				}
				last, n = tok, n+1
			}
		}
	}
	if mean := float64(flips) / float64(n-1); mean < 127 || mean > 129 {
		t.Errorf("%.2f of 256 bits change from one token to the next, want 128", mean)
	}
}

func TestRFC6290_9_1_TokensAreHardToGuess(t *testing.T) {
	secret := Secret(bytes.Repeat([]byte{7}, 32))
	base := Generations{Kept: [Slots]bool{true}, Secrets: [Slots]Secret{secret}}
	want := token(t, NewMaker(base), 0, spii, spir)
	for bit := range 256 { // every bit of the secret counts
		other := base
		other.Secrets[0][bit/8] ^= 1 << (bit % 8)
		if bytes.Equal(token(t, NewMaker(other), 0, spii, spir), want) {
			t.Errorf("bit %d of the secret does not count", bit)
		}
	}
	for bit := range 64 { // and every bit of both SPIs, in this order
		if bytes.Equal(token(t, NewMaker(base), 0, spii^1<<bit, spir), want) || bytes.Equal(token(t, NewMaker(base), 0, spii, spir^1<<bit), want) {
			t.Errorf("bit %d of an SPI does not count", bit)
		}
	}
	if bytes.Equal(token(t, NewMaker(base), 0, spir, spii), want) {
		t.Error("the order of the SPIs does not count")
	}
	// A hash of secret and SPIs alone could be made longer by who has a token.
	plain := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(secret[:], spii), spir))
	if bytes.Equal(plain[:], want) {
		t.Error("the token is a plain hash of the secret")
	}
}

func TestB2_RevokedGenerationTakesTheNextKept(t *testing.T) {
	g := made(t, 7) // numbers 3, 4, 5, 6: slots 3, 0, 1, 2; current 2
	if g.Current != 2 {
		t.Fatalf("current is %d", g.Current)
	}
	if err := g.Revoke(3); err != nil {
		t.Fatal(err)
	}
	m := NewMaker(g)
	if !bytes.Equal(token(t, m, 3, spii, spir), token(t, m, 0, spii, spir)) {
		t.Error("revoked 3: want the token of the next, 0")
	}
	if bytes.Equal(token(t, m, 1, spii, spir), token(t, m, 0, spii, spir)) {
		t.Error("1 is kept and has a token of its own")
	}
	g.Revoke(0)
	g.Revoke(1)
	m = NewMaker(g)
	for generation := range uint8(Slots) {
		if !bytes.Equal(token(t, m, generation, spii, spir), token(t, m, 2, spii, spir)) {
			t.Errorf("generation %d: want the token of the current one", generation)
		}
	}
	if tok, ok := NewMaker(Generations{}).Token(nil, 0, 1, 2); ok || tok != nil {
		t.Errorf("without a secret: %x, %v", tok, ok)
	}
}

func TestTokenAllocatesNothing(t *testing.T) {
	m, buf := NewMaker(made(t, 1)), make([]byte, 0, TokenSize)
	if n := testing.AllocsPerRun(100, func() { m.Token(buf, 0, spii, spir) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	g := made(t, 2)
	d, _ := DigestOf(bytes.Repeat([]byte{1}, 16))
	holder := struct {
		G Generations
		D [2]Digest
	}{g, [2]Digest{d}}
	shown := fmt.Sprintf("%x", g.Secrets[0][1:8])
	for _, v := range []any{g, &g, g.Secrets, g.Secrets[0], &g.Secrets[0], NewMaker(g), *NewMaker(g), d, &d, holder} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d"} {
			text := fmt.Sprintf(verb, v)
			if !strings.Contains(text, "redacted") || strings.Contains(strings.ToLower(text), shown) || strings.Contains(text, "1 2 3 4") || strings.Contains(text, "0x1, 0x2") || strings.Contains(text, fmt.Sprintf("%x", d[:4])) {
				t.Errorf("%s of %T: %s", verb, v, text)
			}
		}
	}
	if g.Secrets[0].String() != "redacted" || g.Secrets[0].GoString() != "redacted" || d.String() != "redacted" || d.GoString() != "redacted" {
		t.Error("String or GoString shows a secret")
	}
}

func BenchmarkToken(b *testing.B) {
	m, buf := NewMaker(made(b, 1)), make([]byte, 0, TokenSize)
	b.ReportAllocs()
	for b.Loop() {
		m.Token(buf, 0, spii, spir)
	}
}
