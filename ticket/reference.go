package ticket

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// A ticket by reference:
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Version = 2  |                     Key ID                    ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~      (4)      |            Reference (16 octets)              ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~               |        HMAC-SHA-256, first 16 octets          ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~               |
//	+-+-+-+-+-+-+-+-+
const (
	versionReference = 2

	referenceSize = 16
	macSize       = 16
	macedSize     = 1 + 4 + referenceSize

	// RefSize is the length of a ticket by reference in octets.
	RefSize = macedSize + macSize

	referenceLabel = "blackswan reference v1"
)

// Kind is how a ticket holds its session.
type Kind uint8

const (
	NotOurs     Kind = iota // by its form: no ticket of ours
	ByValue                 // in itself
	ByReference             // in the store
)

// Form tells a ticket's kind from its version and length. It proves nothing.
func Form(t []byte) Kind {
	switch {
	case len(t) == 0:
	case t[0] == versionValue && len(t)%block == 0 && len(t) <= MaxSize:
		return ByValue
	case t[0] == versionReference && len(t) == RefSize:
		return ByReference
	}
	return NotOurs
}

// SealRef appends to dst a ticket by reference, RefSize octets. The reference
// is random and names the session in the store. Its error is ErrNoKey.
func (r *Ring) SealRef(dst []byte, reference [16]byte, now int64) ([]byte, error) {
	key := r.sealKey(now)
	if key == nil {
		return dst, ErrNoKey
	}
	b := binary.BigEndian.AppendUint32(append(r.plain[:0], versionReference), key.ID)
	b = append(b, reference[:]...)
	b = r.appendMAC(b, key.ID)
	return append(dst, b...), nil
}

// OpenRef returns the reference in a ticket of ours, before the store is asked.
// Its errors are ErrFormat, ErrUnknownKey and ErrForged: a reference tells its
// expiry in the store. No allocation.
func (r *Ring) OpenRef(t []byte) (reference [16]byte, err error) {
	if Form(t) != ByReference {
		return reference, ErrFormat
	}
	id := binary.BigEndian.Uint32(t[1:])
	if find(r.keys, id) == nil {
		return reference, ErrUnknownKey
	}
	b := r.appendMAC(append(r.plain[:0], t[:macedSize]...), id)
	if !hmac.Equal(b, t) { //rfc:5723-6.1-3
		return reference, ErrForged
	}
	return [16]byte(t[5:]), nil
}

// appendMAC appends the MAC under a key that the ring has to b, which is what
// it covers.
func (r *Ring) appendMAC(b []byte, id uint32) []byte {
	for i := range r.keys {
		if r.keys[i].ID == id {
			mac := r.refs[i]
			mac.Reset()
			mac.Write(b)
			return mac.Sum(b)[:RefSize]
		}
	}
	return b
}

func referenceMAC(k *Key) hash.Hash {
	secret, err := hkdf.Key(sha256.New, k.Secret[:], nil, referenceLabel, 32)
	if err != nil {
		panic(err) // a length that is wrong here
	}
	mac := hmac.New(sha256.New, secret)
	mac.Reset() // now it remembers its states after the key
	return mac
}
