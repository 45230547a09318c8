package ike

import "net/netip"

// waitingFirst is a first message of class 3 or 4; Data is its own copy.
type waitingFirst struct {
	p      Packet
	proved bool
	at     int64 // when it reached the machine
}

// queue is bounded, and fair by source prefix (rule E5): no prefix holds more
// than a quarter of it, and all that wait are served in turn, one message each.
// So a flood from one network costs another, be it an office behind one address,
// half of the service at most.
type queue struct {
	lanes map[netip.Prefix]*lane
	turns []*lane // with somebody waiting, the next to be served first
	n     int
}

// lane is what waits of one prefix, the oldest first.
type lane struct {
	from  netip.Prefix
	items []waitingFirst
}

func (q *queue) len() int { return q.n }

func (q *queue) push(w waitingFirst, limit int) bool {
	from := prefix(w.p.Remote.Addr())
	l := q.lanes[from]
	if q.n >= limit || l != nil && len(l.items) >= max(limit/4, 1) {
		return false
	}
	if l == nil {
		if q.lanes == nil {
			q.lanes = map[netip.Prefix]*lane{}
		}
		l = &lane{from: from}
		q.lanes[from] = l
		q.turns = append(q.turns, l)
	}
	l.items = append(l.items, w)
	q.n++
	return true
}

func (q *queue) pop() (waitingFirst, bool) {
	if q.n == 0 {
		return waitingFirst{}, false
	}
	l := q.turns[0]
	q.turns[0], q.turns = nil, q.turns[1:]
	w := l.items[0]
	l.items[0], l.items = waitingFirst{}, l.items[1:]
	q.n--
	if len(l.items) == 0 {
		delete(q.lanes, l.from)
	} else {
		q.turns = append(q.turns, l)
	}
	return w, true
}

// prefix is what one customer of an address registry usually holds.
func prefix(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() && !a.Is4In6() {
		bits = 56
	}
	p, _ := a.Unmap().Prefix(bits)
	return p
}
