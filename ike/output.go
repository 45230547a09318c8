package ike

import (
	"hash/maphash"
	"io"

	"blackswan/wire"
)

// Next returns the next effect of the last input. Slices behind it live until
// the next input; those of a Question belong to the caller.
func (e *Endpoint) Next() (Output, bool) {
	if e.drained == len(e.outs) {
		return Output{}, false
	}
	e.drained++
	return e.outs[e.drained-1], true
}

func (e *Endpoint) put(o Output) { e.outs = append(e.outs, o) }

// event tells the owner. sa may be nil.
func (e *Endpoint) event(sa *SA, ev Event) {
	var h Handle
	if sa != nil {
		h = sa.handle()
		ev.SPIs, ev.Connection, ev.Identity, ev.Remote = sa.spi, sa.conn, sa.peer, sa.remote.addrPort()
		ev.Resumed = sa.resumed
		if sa.tun != nil {
			ev.Owner = sa.tun.owner
		}
	}
	e.events = append(e.events, ev)
	e.put(Output{Kind: OutputEvent, SA: h, Event: &e.events[len(e.events)-1]})
}

// record keeps something in the store.
func (e *Endpoint) record(sa *SA, r Record) {
	var h Handle
	if sa != nil {
		h = sa.handle()
	}
	e.records = append(e.records, r)
	e.put(Output{Kind: OutputRecord, SA: h, Record: &e.records[len(e.records)-1]})
}

// send copies nothing: msg lies in the arena or lives with its SA.
func (e *Endpoint) send(sa *SA, p Packet) {
	var h Handle
	if sa != nil {
		h = sa.handle()
	}
	e.put(Output{Kind: OutputSend, SA: h, Packet: p})
}

// sendSA sends messages that lie back to back, to where sa's peer is.
func (e *Endpoint) sendSA(sa *SA, msgs []byte) {
	e.sendBy(sa, Packet{Local: sa.local.addrPort(), Remote: sa.remote.addrPort(), Marker: sa.marker}, msgs)
}

// sendBack sends a response to where its request came from (RFC 7296 2.11).
func (e *Endpoint) sendBack(sa *SA, msgs []byte) {
	if e.asker.Remote.IsValid() {
		e.sendBy(sa, e.asker, msgs)
	} else { // it was made of an answer: the SA has the path of its request
		e.sendSA(sa, msgs)
	}
}

// sendBy sends messages that lie back to back on the path of p.
func (e *Endpoint) sendBy(sa *SA, p Packet, msgs []byte) {
	for len(msgs) > 0 {
		h, err := wire.ParseHeader(msgs)
		if err != nil || int(h.Length) > len(msgs) {
			return
		}
		p.Data = msgs[:h.Length]
		e.send(sa, p)
		msgs = msgs[h.Length:]
	}
}

// reply answers a packet outside of any SA; data must lie in the arena.
func (e *Endpoint) reply(to Packet, data []byte) {
	e.send(nil, Packet{Local: to.Local, Remote: to.Remote, Marker: to.Marker, Data: data})
}

// hash is keyed and for tables only; it proves nothing to a peer.
func (e *Endpoint) hash(b []byte) uint64 { return maphash.Bytes(e.seed, b) }

// blocks reads randomness in blocks (rule B6).
type blocks struct {
	from io.Reader
	buf  [2048]byte
	left int
}

func (r *blocks) Read(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if r.left == 0 {
			if _, err := io.ReadFull(r.from, r.buf[:]); err != nil {
				panic("ike: no randomness: " + err.Error())
			}
			r.left = len(r.buf)
		}
		at := len(r.buf) - r.left
		k := copy(b, r.buf[at:])
		clear(r.buf[at : at+k])
		r.left -= k
		b = b[k:]
	}
	return n, nil
}

// forget drops what was read ahead, after the machine was cloned.
func (r *blocks) forget() { r.left = 0 }

// schedule puts sa's next deadline in the timeline unless an earlier one of it
// is there already: tick looks again then.
func (e *Endpoint) schedule(sa *SA) {
	at := sa.earliest()
	if at == 0 || sa.due != 0 && sa.due <= at {
		return
	}
	sa.due = at
	e.due.put(at, sa.handle())
}
