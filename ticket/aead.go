package ticket

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"io"
)

const (
	label = "blackswan ticket v1"

	// sealsPerSalt keeps random nonces under one AEAD key far from repeating.
	sealsPerSalt = 1 << 28
	// cached AEADs: one for each shard of each recent start of each node.
	cached = 128
)

// saltID is what names an AEAD key in a ticket: key id 4, salt 16.
type saltID [4 + saltSize]byte

func (id saltID) key() uint32 { return binary.BigEndian.Uint32(id[:]) }

// derive is the AEAD of the tickets under one salt: AES-256-GCM, its key
// HKDF-SHA256(ring key, salt).
func derive(k *Key, id saltID) cipher.AEAD {
	secret, err := hkdf.Key(sha256.New, k.Secret[:], id[4:], label, 32)
	if err != nil {
		panic(err) // a length that is wrong here
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// sealing is the salt of this process under the key that seals now.
type sealing struct {
	header [headerSize]byte
	nonce  [nonceSize]byte // scratch
	aead   cipher.AEAD     // nil: none yet
	left   int             // seals until the salt is renewed
}

func (o *sealing) keyID() uint32 { return binary.BigEndian.Uint32(o.header[1:]) }

// prepare makes r.own fit to seal one ticket at now.
func (r *Ring) prepare(now int64, rand io.Reader) error {
	key := r.sealKey(now)
	if key == nil {
		return ErrNoKey
	}
	if r.own.left > 0 && r.own.keyID() == key.ID {
		r.own.left--
		return nil
	}
	fresh := sealing{left: sealsPerSalt - 1}
	fresh.header[0] = versionValue
	binary.BigEndian.PutUint32(fresh.header[1:], key.ID)
	if _, err := io.ReadFull(rand, fresh.header[5:]); err != nil {
		return err
	}
	id := saltID(fresh.header[1:])
	fresh.aead = derive(key, id)
	r.own = fresh
	r.aeads.put(id, fresh.aead)
	return nil
}

// aeads are the AEADs that have opened a ticket, replaced by clock: one that
// opened another since the hand came by stays another turn.
type aeads struct {
	index   map[saltID]int
	entries [cached]entry
	hand    int
}

type entry struct {
	id   saltID
	aead cipher.AEAD
	used bool
}

func (c *aeads) get(id saltID) (cipher.AEAD, bool) {
	i, ok := c.index[id]
	if !ok {
		return nil, false
	}
	c.entries[i].used = true
	return c.entries[i].aead, true
}

// put remembers an AEAD that the cache does not have.
func (c *aeads) put(id saltID, aead cipher.AEAD) {
	for c.entries[c.hand].used {
		c.entries[c.hand].used = false
		c.hand = (c.hand + 1) % cached
	}
	if c.index == nil {
		c.index = make(map[saltID]int, cached)
	}
	if old := &c.entries[c.hand]; old.aead != nil {
		delete(c.index, old.id)
	}
	c.entries[c.hand] = entry{id: id, aead: aead}
	c.index[id] = c.hand
	c.hand = (c.hand + 1) % cached
}

// retain forgets the AEADs of keys that are gone.
func (c *aeads) retain(keys []Key) {
	for id, i := range c.index {
		if find(keys, id.key()) == nil {
			delete(c.index, id)
			c.entries[i] = entry{}
		}
	}
}
