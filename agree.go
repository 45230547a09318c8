package blackswan

import (
	"crypto/rand"
	"sync"
	"time"

	"blackswan/ike"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// pairLife is how long one key pair of a responder serves. Making a pair is
// half of a key agreement; RFC 7296 2.12 lets a responder use one more than
// once if it forgets it soon, and each SA has fresh nonces. Every peer's value
// is checked (RFC 6989). An initiator's pair is always its own.
const pairLife = time.Second

// pairs are the key pairs of this process's responders, one a group.
var pairs pairCache

type pairCache struct {
	mu   sync.Mutex
	made map[wire.TransformID]madePair
}

type madePair struct {
	pair *suite.KeyPair
	at   time.Time
}

// get returns the pair of a group that serves at now. What is over is forgotten.
func (c *pairCache) get(group wire.TransformID, now time.Time) (*suite.KeyPair, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.made[group]; ok && now.Sub(m.at) < pairLife {
		return m.pair, nil
	}
	pair, err := suite.NewKeyPair(group, rand.Reader)
	if err != nil {
		return nil, err
	}
	if c.made == nil {
		c.made = map[wire.TransformID]madePair{}
	}
	c.made[group] = madePair{pair, now}
	time.AfterFunc(pairLife, func() { c.forget(group, pair) }) //rfc:7296-2.12-1
	return pair, nil
}

// forget drops a pair, unless another one has taken its place.
func (c *pairCache) forget(group wire.TransformID, pair *suite.KeyPair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made[group].pair == pair {
		delete(c.made, group)
	}
}

// agree makes the shared secret: with the initiator's own pair, or with the
// responder's pair of the moment.
func agree(q *ike.Question, now time.Time, a *ike.Answer) {
	pair := q.Pair
	if pair == nil {
		if pair, a.Err = pairs.get(q.Group, now); a.Err != nil {
			return
		}
		a.Public = append([]byte(nil), pair.Public()...)
	}
	a.Shared, a.Err = pair.Shared(q.Public)
}
