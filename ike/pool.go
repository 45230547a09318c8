package ike

// pool keeps the room of what has ended for what begins: a storm ends an SA for
// each that it begins, and leaves the collector the less to do. What an input
// gives is taken from the next one on: until then outputs may view it, and
// whoever has ended it may still look at it.
type pool[T any] struct {
	most  int // held; the rest is the collector's
	spare []*T
	given []*T // by this input
}

// take is one that may have been used: the caller clears what it was.
func (p *pool[T]) take() *T {
	n := len(p.spare)
	if n == 0 {
		return new(T)
	}
	x := p.spare[n-1]
	p.spare = p.spare[:n-1]
	return x
}

func (p *pool[T]) give(x *T) {
	if len(p.spare)+len(p.given) < p.most {
		p.given = append(p.given, x)
	}
}

// settle is called between two inputs.
func (p *pool[T]) settle() {
	p.spare, p.given = append(p.spare, p.given...), p.given[:0]
}
