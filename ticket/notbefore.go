package ticket

import "crypto/sha256"

// NotBefore ends all sessions of a user at once: a ticket whose last full
// authentication is not after the time of its identity is refused. The zero
// value refuses nobody. It is not for concurrent use.
type NotBefore struct {
	at map[[sha256.Size]byte]int64 // by hash of the identity
}

// Set refuses the sessions of an identity that were authenticated at or before
// the given Unix second. An earlier one changes nothing.
func (n *NotBefore) Set(identity []byte, at int64) {
	if n.at == nil {
		n.at = make(map[[sha256.Size]byte]int64)
	}
	h := sha256.Sum256(identity)
	n.at[h] = max(n.at[h], at)
}

// Refuses tells whether a session of an identity whose last full authentication
// was at fullAuth is refused.
func (n *NotBefore) Refuses(identity []byte, fullAuth int64) bool {
	if len(n.at) == 0 {
		return false
	}
	at, ok := n.at[sha256.Sum256(identity)]
	return ok && fullAuth <= at
}

// Expire forgets what refuses no ticket any more: times before the given one.
func (n *NotBefore) Expire(before int64) {
	for h, at := range n.at {
		if at < before {
			delete(n.at, h)
		}
	}
}
