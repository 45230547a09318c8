package psk

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"blackswan/wire"
)

// Entry gives a secret to a peer.
type Entry struct {
	Connection string // name of the connection; "": all of them
	Local      string // our identity; "": each of ours
	Peer       string // the peer's identity
	Secret     Secret
}

// Secrets finds the secret of a peer. It never changes and may be used by
// several goroutines at once.
type Secrets struct{ entries []Entry }

// New takes entries in any order. An identity is text as [wire.ID.String]
// prints it: a name, an e-mail address or an address; "*" stands for any, and
// "*.example.org" or "*@example.org" for all that end so. Two entries that
// would always compete are refused.
func New(entries ...Entry) (*Secrets, error) {
	s := &Secrets{}
	for i, e := range entries {
		for _, pattern := range []string{e.Local, e.Peer} {
			if strings.Contains(strings.TrimPrefix(pattern, "*"), "*") {
				return nil, fmt.Errorf("psk: identity %q: * stands only at the beginning", pattern)
			}
		}
		if e.Peer == "" {
			return nil, fmt.Errorf("psk: entry %d names no peer: write its identity, or * for any", i+1)
		}
		if len(e.Secret) == 0 {
			return nil, fmt.Errorf("psk: the secret of %q is empty", e.Peer)
		}
		for _, other := range s.entries {
			if other.Connection == e.Connection && strings.EqualFold(other.Local, e.Local) && strings.EqualFold(other.Peer, e.Peer) {
				return nil, fmt.Errorf("psk: two secrets for the peer %q, our identity %q, connection %q: remove one", e.Peer, e.Local, e.Connection)
			}
		}
		e.Secret = bytes.Clone(e.Secret)
		s.entries = append(s.entries, e)
	}
	return s, nil
}

// Lookup returns the secret of the most particular entry that fits: first what
// says most of the peer, then of the connection, then of us. The Secret is
// shared. A secret for any peer is one for all of a group: whoever knows it can
// play the others.
func (s *Secrets) Lookup(connection string, local, peer wire.ID) (Secret, bool) {
	best := -1
	var found Secret
	for _, e := range s.entries {
		if e.Connection != "" && e.Connection != connection {
			continue
		}
		mine, ok := weight(e.Local, local)
		if !ok {
			continue
		}
		theirs, ok := weight(e.Peer, peer)
		if !ok {
			continue
		}
		sum := theirs<<20 + mine
		if e.Connection != "" {
			sum += 1 << 19
		}
		if sum > best {
			best, found = sum, e.Secret
		}
	}
	return found, best >= 0
}

// exact is the weight of an identity that is named in full, more than that of
// any pattern.
const exact = 1 << 10

// weight says whether the pattern fits and how much of the identity it names.
func weight(pattern string, id wire.ID) (int, bool) {
	tail, any := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == "":
		return 0, true
	case tail == "" && any:
		return 1, true
	case id.Type != wire.IDFQDN && id.Type != wire.IDRFC822Addr:
		return exact, !any && strings.EqualFold(pattern, id.String()) // addresses and keys have no ends that mean anything
	case !any:
		return exact, strings.EqualFold(pattern, string(id.Data)) && !foreign(pattern)
	case len(id.Data) <= len(tail):
		return 0, false
	}
	return min(1+len(tail), exact-1), strings.EqualFold(string(id.Data[len(id.Data)-len(tail):]), tail)
}

// foreign keeps a name that is spelled like an address or a key from taking
// its secret.
func foreign(pattern string) bool {
	_, err := netip.ParseAddr(pattern)
	return err == nil || strings.Contains(pattern, ":")
}
