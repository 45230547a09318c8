package suite

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"math/rand/v2"
	"testing"

	"blackswan/wire"
)

// message is one SK or SKF payload of a foreign implementation.
type message struct {
	Name        string
	Encr, Integ wire.TransformID
	Bits        uint16
	EK, AK      octets
	IVAt        int
	Message     octets
	Plain, Auth octets // one of both, or none, is known
}

func (m message) suite() Suite { return Suite{Encr: m.Encr, KeyBits: m.Bits, Integ: m.Integ} }

func TestForeignMessages(t *testing.T) {
	var x Box
	auths := 0
	for _, m := range load[message](t, "messages.json") {
		s, msg := m.suite(), bytes.Clone(m.Message)
		plain, err := x.Open(s, m.EK, m.AK, msg, m.IVAt)
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		if len(m.Plain) > 0 && !bytes.Equal(plain, m.Plain) {
			t.Errorf("%s: plaintext = %x, want %x", m.Name, plain, m.Plain)
		}
		if len(m.Auth) > 0 && bytes.Contains(plain, m.Auth) {
			auths++
		}

		// Sealing the same plaintext with the same IV and padding gives the same octets.
		plainAt := m.IVAt + s.IVLen()
		plainEnd := plainAt + len(plain)
		padding := bytes.Clone(msg[plainEnd : len(msg)-s.ICVLen()-1])
		iv := bytes.Clone(m.Message[m.IVAt:plainAt])
		if err := x.Seal(s, m.EK, m.AK, msg, m.IVAt, plainAt, plainEnd, iv); err != nil {
			t.Errorf("%s: sealing again: %v", m.Name, err)
		}
		if bytes.Equal(padding, make([]byte, len(padding))) != bytes.Equal(msg, m.Message) {
			t.Errorf("%s: sealed again = %x, want %x", m.Name, msg, m.Message)
		}
	}
	if auths != 2 { // of the initiators of both captures of Wireshark
		t.Errorf("%d AUTH values of the captures found, want 2", auths)
	}
}

// RFC 7634 Appendix B.
func TestRFC7634(t *testing.T) {
	key := make([]byte, 0, 36)
	for b := byte(0x80); b <= 0xa3; b++ {
		key = append(key, b)
	}
	want := unhex(t, "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029"+"1011121314151617"+"610394701f8d017f7c12924889"+"6b71bfe25236efd7cdc67066906315b2")
	plain := unhex(t, "0000000c000040010000000a")
	msg := append(bytes.Clone(want[:40]), plain...)
	msg = append(msg, make([]byte, chacha.Trailer(len(plain)))...)
	var x Box
	if err := x.Seal(chacha, key, nil, msg, 32, 40, 52, want[32:40]); err != nil || !bytes.Equal(msg, want) {
		t.Fatalf("%x, %v; want %x", msg, err, want)
	}
	if got, err := x.Open(chacha, key, nil, msg, 32); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("opened: %x, %v", got, err)
	}
}

// sealed makes a message of header and SK payload around plain, with extra
// blocks of padding, and its keys.
func sealed(t testing.TB, r *rand.Rand, s Suite, plain []byte, extra int) (msg, ek, ak []byte) {
	t.Helper()
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	ek, ak = random(s.KeyLen()), random(s.IntegLen())
	msg = append(random(32+s.IVLen()), plain...)
	msg = append(msg, random(s.Trailer(len(plain))+extra*s.Block())...)
	var x Box
	if err := x.Seal(s, ek, ak, msg, 32, 32+s.IVLen(), 32+s.IVLen()+len(plain), random(s.IVLen())); err != nil {
		t.Fatalf("%v: sealing %d octets: %v", s, len(plain), err)
	}
	return msg, ek, ak
}

func TestSealOpen(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 14))
	var x Box
	for _, s := range everySuite() {
		for size := range 50 {
			plain := make([]byte, size)
			for i := range plain {
				plain[i] = byte(r.Uint32())
			}
			extra := r.IntN(240 / s.Block())
			msg, ek, ak := sealed(t, r, s, plain, extra)
			got, err := x.Open(s, ek, ak, msg, 32)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%v, %d octets and %d blocks more: %x, %v; want %x", s, size, extra, got, err, plain)
			}
			if len(got) != cap(got) {
				t.Fatalf("%v: the plaintext can be appended to", s)
			}
		}
	}
}

// Every octet of the message counts, header included (RFC 7296 3.14, RFC 5282
// 5.2), and so does every octet of the keys that authenticate.
func TestOpenRefusesEveryChange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var x Box
	for _, s := range someSuites {
		msg, ek, ak := sealed(t, r, s, []byte("the plaintext of a payload"), 0)
		open := func() error {
			_, err := x.Open(s, ek, ak, bytes.Clone(msg), 32)
			return err
		}
		parts := map[string][]byte{"message": msg, "SK_a": ak}
		if s.AEAD() { // SK_e of CBC is not what the ICV is made with
			parts["SK_e"] = ek
		}
		for what, part := range parts {
			for i, was := range part {
				part[i] = was ^ 1<<r.IntN(8)
				if err := open(); !errors.Is(err, ErrICV) {
					t.Errorf("%v: octet %d of the %s changed: %v", s, i, what, err)
				}
				part[i] = was
			}
		}
		if err := open(); err != nil {
			t.Fatalf("%v: the untouched message: %v", s, err)
		}
		for n := range msg {
			if _, err := x.Open(s, ek, ak, bytes.Clone(msg[:n]), 32); !errors.Is(err, ErrLength) && !errors.Is(err, ErrICV) {
				t.Errorf("%v: cut to %d octets: %v", s, n, err)
			}
		}
	}
}

// A holder of the keys who lies about the Pad Length gains nothing.
func TestOpenPadding(t *testing.T) {
	var x Box
	ek, ak, iv := make([]byte, 32), make([]byte, 32), make([]byte, 16)
	s := Suite{Encr: wire.ENCRAESCBC, KeyBits: 256, Integ: wire.INTEGHMACSHA256}
	block, err := aes.NewCipher(ek)
	if err != nil {
		t.Fatal(err)
	}
	for pad := range 256 {
		msg := make([]byte, 32+16+48+16)
		msg[32+16+47] = byte(pad)
		end := len(msg) - 16
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(msg[48:end], msg[48:end])
		copy(msg[end:], plainHMAC(wire.PRFHMACSHA256, ak, msg[:end]))
		plain, err := x.Open(s, ek, ak, msg, 32)
		if pad <= 47 && (err != nil || len(plain) != 47-pad) {
			t.Errorf("pad length %d: %d octets, %v", pad, len(plain), err)
		}
		if pad > 47 && !errors.Is(err, ErrPadding) {
			t.Errorf("pad length %d: %v", pad, err)
		}
	}
}

func TestSealRefusesImpossibleLengths(t *testing.T) {
	var x Box
	for _, s := range []Suite{gcm256, cbc128} {
		ek, ak, iv := make([]byte, s.KeyLen()), make([]byte, s.IntegLen()), make([]byte, s.IVLen())
		at := 32 + s.IVLen()
		fits := at + 15 + s.Trailer(15)
		for what, err := range map[string]error{
			"no room for the trailer": x.Seal(s, ek, ak, make([]byte, fits-s.Block()), 32, at, at+15, iv),
			"256 octets of padding":   x.Seal(s, ek, ak, make([]byte, fits+256), 32, at, at+15, iv),
			"short IV":                x.Seal(s, ek, ak, make([]byte, fits), 32, at, at+15, iv[1:]),
			"gap after the IV":        x.Seal(s, ek, ak, make([]byte, fits+1), 32, at+1, at+16, iv),
			"negative plaintext":      x.Seal(s, ek, ak, make([]byte, fits), 32, at, at-1, iv),
		} {
			if !errors.Is(err, ErrLength) {
				t.Errorf("%v, %s: %v", s, what, err)
			}
		}
	}
	if err := x.Seal(cbc128, make([]byte, 16), make([]byte, 32), make([]byte, 48+17+16), 32, 48, 48+15, make([]byte, 16)); !errors.Is(err, ErrLength) {
		t.Errorf("CBC over 17 octets: %v", err)
	}
	if err := x.Seal(gcm256, make([]byte, 32), nil, make([]byte, 80), 32, 40, 63, make([]byte, 8)); !errors.Is(err, ErrLength) {
		t.Errorf("GCM with a key without salt: %v", err)
	}
}

// The set-up of the cipher is all that may allocate: DESIGN's budget.
func TestBoxAllocations(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, row := range []struct {
		suite Suite
		most  float64
	}{{gcm128, 2}, {gcm256, 2}, {chacha, 1}, {cbc128, 3}, {largest, 3}} {
		s, x := row.suite, new(Box)
		plain := make([]byte, 100)
		msg, ek, ak := sealed(t, r, s, plain, 0)
		iv, plainAt := make([]byte, s.IVLen()), 32+s.IVLen()
		seal := func() {
			if err := x.Seal(s, ek, ak, msg, 32, plainAt, plainAt+100, iv); err != nil {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(100, seal); n > row.most {
			t.Errorf("%v: Seal allocates %v times, at most %v", s, n, row.most)
		}
		seal()
		kept, work := bytes.Clone(msg), make([]byte, len(msg))
		if n := testing.AllocsPerRun(100, func() {
			copy(work, kept)
			if _, err := x.Open(s, ek, ak, work, 32); err != nil {
				t.Fatal(err)
			}
		}); n > row.most {
			t.Errorf("%v: Open allocates %v times, at most %v", s, n, row.most)
		}
	}
}

// FuzzOpen: whatever is shown, Open does not panic and accepts nothing that was
// not sealed with the keys, here zeros.
func FuzzOpen(f *testing.F) {
	for i, s := range someSuites {
		msg, _, _ := sealed(f, rand.New(rand.NewPCG(uint64(i), 0)), s, []byte("seed"), 1)
		f.Add(uint8(i), 32, msg)
	}
	f.Fuzz(func(t *testing.T, which uint8, ivAt int, msg []byte) {
		s := someSuites[int(which)%len(someSuites)]
		var x Box
		if plain, err := x.Open(s, make([]byte, s.KeyLen()), make([]byte, s.IntegLen()), msg, ivAt); err == nil {
			t.Errorf("%v: a forgery was opened: %x", s, plain)
		}
	})
}
