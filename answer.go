package blackswan

import (
	"fmt"
	"time"

	"crypto/rand"

	"blackswan/ike"
	"blackswan/internal/proof"
	"blackswan/internal/suite"
)

var (
	errBusy     = fmt.Errorf("blackswan: %w: the peer will try again", ike.ErrBusy)
	errReloaded = fmt.Errorf("blackswan: %w: the connection was changed meanwhile", ike.ErrBusy)
)

// ask gives a question to the pool; its answer comes back by the shard's
// channel. Too many: the answer is an error, at once.
func (s *shard) ask(q *ike.Question) {
	if q.Kind == ike.AskRing {
		s.node.readRing()
		return
	}
	p := s.node.peerOf(q.Conn)
	if q.Kind == ike.AskGateway {
		s.node.resolve(s, q, p)
		return
	}
	if !questions.take(job{s.done, func() { s.answered(answer(q, p, s.node.wall(time.Now()))) }}) {
		s.late = append(s.late, ike.Answer{ID: q.ID, Err: errBusy})
	}
}

// answered hands an answer to the shard, unless it has ended.
func (s *shard) answered(a ike.Answer) {
	select {
	case s.answers <- a:
	case <-s.done:
	}
}

// answer does the work of a question. p is its connection, nil where it is not
// known.
func answer(q *ike.Question, p *peer, now time.Time) ike.Answer {
	a := ike.Answer{ID: q.ID}
	switch q.Kind {
	case ike.AskKeyPair:
		a.Pair, a.Err = suite.NewKeyPair(q.Group, rand.Reader)
	case ike.AskAgree:
		agree(q, time.Now(), &a)
	case ike.AskSign:
		if p == nil || p.signer == nil {
			a.Err = errReloaded
			break
		}
		proof.Sign(q, p.signer, &a)
	case ike.AskVerify:
		if p == nil || p.verifier == nil {
			a.Err = errReloaded
			break
		}
		if leaf := proof.Verify(q, p.verifier, now, &a); a.Err == nil && p.host != "" {
			p.leaf.Store(&leaf)
		}
	}
	return a
}
