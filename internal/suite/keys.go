package suite

// MaxKeymat is the size in octets of the keys of the largest suite: SK_d,
// SK_pi and SK_pr of PRF_HMAC_SHA2_512, SK_ai and SK_ar of HMAC-SHA2-512, SK_ei
// and SK_er of AES-CBC-256. An AEAD has longer SK_e and no SK_a.
const MaxKeymat = 3*maxHash + 2*maxHash + 2*32

// Keys holds the seven keys of an IKE SA in the order in which prf+ gives
// them (RFC 7296 2.14):
//
//	SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr
//
// It has no pointers; where a key lies follows from the Suite. It prints as
// "redacted".
type Keys struct {
	redacted
	buf [MaxKeymat]byte
}

// Held is what an SA keeps of its Keys once both sides have proved themselves:
// all but SK_pi and SK_pr, which AUTH alone needs. It has memory of its own, of
// their size: 104 octets for AES-GCM-256 with HMAC-SHA2-256, 256 for the largest
// suite. Copies of a Held share that memory. It prints as "redacted".
type Held struct {
	redacted
	buf []byte
}

// Held copies what an SA keeps of k.
func (k *Keys) Held(s Suite) Held {
	n := s.keymat() - 2*s.PRFLen()
	return Held{buf: append(make([]byte, 0, n), k.buf[:n]...)}
}

// Wipe overwrites the keys of h and of its copies.
func (h *Held) Wipe() { clear(h.buf) }

// D returns SK_d, a view of h.
func (h *Held) D(s Suite) []byte { return h.at(0, s.PRFLen()) }

// AI returns SK_ai, a view of h; empty for an AEAD.
func (h *Held) AI(s Suite) []byte { return h.at(s.PRFLen(), s.IntegLen()) }

// AR returns SK_ar, a view of h; empty for an AEAD.
func (h *Held) AR(s Suite) []byte { return h.at(s.PRFLen()+s.IntegLen(), s.IntegLen()) }

// EI returns SK_ei with the salt of an AEAD, a view of h.
func (h *Held) EI(s Suite) []byte { return h.at(s.PRFLen()+2*s.IntegLen(), s.KeyLen()) }

// ER returns SK_er with the salt of an AEAD, a view of h.
func (h *Held) ER(s Suite) []byte { return h.at(s.PRFLen()+2*s.IntegLen()+s.KeyLen(), s.KeyLen()) }

func (h *Held) at(from, n int) []byte { return h.buf[from : from+n : from+n] }

// D returns SK_d, a view of k.
func (k *Keys) D(s Suite) []byte { return k.at(0, s.PRFLen()) }

// AI returns SK_ai, a view of k; empty for an AEAD.
func (k *Keys) AI(s Suite) []byte { return k.at(s.PRFLen(), s.IntegLen()) }

// AR returns SK_ar, a view of k; empty for an AEAD.
func (k *Keys) AR(s Suite) []byte { return k.at(s.PRFLen()+s.IntegLen(), s.IntegLen()) }

// EI returns SK_ei with the salt of an AEAD, a view of k.
func (k *Keys) EI(s Suite) []byte { return k.at(s.PRFLen()+2*s.IntegLen(), s.KeyLen()) }

// ER returns SK_er with the salt of an AEAD, a view of k.
func (k *Keys) ER(s Suite) []byte { return k.at(s.PRFLen()+2*s.IntegLen()+s.KeyLen(), s.KeyLen()) }

// PI returns SK_pi, a view of k.
func (k *Keys) PI(s Suite) []byte { return k.at(s.keymat()-2*s.PRFLen(), s.PRFLen()) }

// PR returns SK_pr, a view of k.
func (k *Keys) PR(s Suite) []byte { return k.at(s.keymat()-s.PRFLen(), s.PRFLen()) }

// at caps each view, so that an append to one key cannot write the next.
func (k *Keys) at(from, n int) []byte { return k.buf[from : from+n : from+n] }

// keymat is the size in octets of all the keys of s.
func (s Suite) keymat() int { return 3*s.PRFLen() + 2*s.IntegLen() + 2*s.KeyLen() }

var resumption = []byte("Resumption")

// DeriveInit fills k after IKE_SA_INIT (RFC 7296 2.14):
//
//	SKEYSEED = prf(Ni | Nr, g^ir)
//
// p is the PRF of s; it is left keyed with SKEYSEED. No argument is kept.
func DeriveInit(p *PRF, s Suite, k *Keys, ni, nr, shared []byte, spii, spir uint64) {
	p.key(ni, nr)
	p.Write(shared) //rfc:7296-2.14-1
	derive(p, p, s, k, ni, nr, spii, spir)
}

// DeriveResume fills k after IKE_SESSION_RESUME (RFC 5723 5.1):
//
//	SKEYSEED = prf(SK_d (old), "Resumption" | Ni | Nr)
//
// p is the PRF of s, the suite that the ticket names. skdOld may lie in k.
func DeriveResume(p *PRF, s Suite, k *Keys, skdOld, ni, nr []byte, spii, spir uint64) {
	p.Key(skdOld)
	p.Write(resumption) //rfc:5723-5.1-1
	p.Write(ni)
	p.Write(nr)
	derive(p, p, s, k, ni, nr, spii, spir)
}

// DeriveRekey fills k after CREATE_CHILD_SA made a new IKE SA (RFC 7296 2.18):
//
//	SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)
//
// old is the PRF of the SA that is rekeyed, p that of s; they may be the same.
// The exchange belongs to the old SA, so its PRF makes SKEYSEED, and the new
// one the keys. skdOld may lie in k.
func DeriveRekey(old, p *PRF, s Suite, k *Keys, skdOld, shared, ni, nr []byte, spii, spir uint64) {
	old.Key(skdOld)
	old.Write(shared)
	old.Write(ni)
	old.Write(nr)
	derive(old, p, s, k, ni, nr, spii, spir)
}

// derive takes SKEYSEED from seed, which is ready for Sum, and fills k with
// prf+(SKEYSEED, Ni | Nr | SPIi | SPIr).
func derive(seed, p *PRF, s Suite, k *Keys, ni, nr []byte, spii, spir uint64) {
	if p.id != s.PRF {
		panic("suite: keys are derived with the PRF of their suite")
	}
	p.Key(seed.Sum(seed.out[:0]))
	p.plus(k.buf[:s.keymat()], ni, nr, p.spiBytes(spii, spir)) //rfc:5723-5.1-2
}

// DeriveChild fills dst with the keying material of a Child SA (RFC 7296 2.17):
//
//	KEYMAT = prf+(SK_d, [g^ir (new)] | Ni | Nr)
//
// shared is empty where there was no key exchange. The keys for packets from
// initiator to responder come first, encryption before integrity.
func DeriveChild(p *PRF, dst, skd, shared, ni, nr []byte) {
	p.Key(skd)
	p.plus(dst, shared, ni, nr)
}
