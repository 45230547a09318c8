package ike

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"blackswan/wire"
)

// FuzzEndpoint plays a script of inputs to a gateway and a client with a live
// SA between them. Whatever comes: no panic, memory within its limits, no more
// octets out than rule A3 allows before return routability is shown, and no
// forged message that ends the SA.
func FuzzEndpoint(f *testing.F) {
	f.Add([]byte("\x00"))
	f.Add([]byte("\x01\x20\x03\x40"))
	for op := range 12 {
		f.Add([]byte{byte(op), 0, 10, 0xff, byte(op + 1), 5, 3, 0x20, byte(op), 200, 60, 1})
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 400 {
			return
		}
		w := newWorld(t, "fuzz", quiet, func(gw, _ *Config) {
			gw.Limits = Limits{
				HalfOpen: 16, CookieAt: 8, HalfResumes: 16, ResumeCookieAt: 8, SAs: 64, SAsOfPeer: 4, Questions: 4, Queue: 8,
				Duplicates: 16, Responses: 4096, Reassemblies: 4, Tombstones: 16, Survivors: 16, Floors: 16,
			}
		}, func(gw, cl *Config) {
			gw.Connections[0].MOBIKE, cl.Connections[0].MOBIKE, cl.Connections[0].Redirects = true, true, true
		})
		w.connect()
		g, c := w.one()
		before := *g
		good := w.protectedRequest(w.cl)
		var seen [][]byte
		seen = append(seen, good.Data, w.createRequest(g, c), w.initRequest(), w.resumeRequest())
		for len(script) >= 4 {
			w.step(t, script[:4], seen)
			script = script[4:]
			w.bounded(t)
		}
		if w.gw.e.sa(g.handle()) != g || !sameKeys(g.keys, before.keys) || g.state != stateEstablished {
			t.Fatal("the gateway's SA was ended by noise")
		}
		if w.cl.e.sa(c.handle()) != c || w.cl.count(EventDetected) != 0 {
			t.Fatal("the client's SA was ended by noise")
		}
	})
}

// step is one input: a message seen before, changed at one place, cut, or
// prolonged, to one of the two.
func (w *world) step(t *testing.T, op []byte, seen [][]byte) {
	to := []*node{w.gw, w.cl}[op[0]>>7]
	data := append([]byte(nil), seen[int(op[0]&0x7f)%len(seen)]...)
	at := int(binary.BigEndian.Uint16(op[1:])) % len(data)
	switch op[3] % 6 {
	case 0:
		data[at] ^= op[3] | 1
	case 1:
		data = data[:at]
	case 2:
		data = append(data, data[at:]...)
		if len(data) >= wire.HeaderLen {
			binary.BigEndian.PutUint32(data[24:], uint32(len(data)))
		}
	case 3:
		data[16], data[18] = op[3]>>3, op[3]>>2
	case 4:
		data[19] ^= op[3]
	case 5:
		w.now = w.now.Add(time.Duration(op[3]) * time.Millisecond)
	}
	if string(data) == string(seen[0]) || string(data) == string(seen[1]) {
		return // the good requests themselves are no noise
	}
	var in, out int
	in = len(data)
	to.e.Expect([]Packet{{Data: data}})
	to.e.Packet(w.now, Packet{Local: to.addr, Remote: clAddr, Data: data})
	for round := 0; round < 64; round++ {
		for {
			o, ok := to.e.Next()
			if !ok {
				break
			}
			if o.Kind == OutputSend {
				out += len(o.Packet.Data)
			}
		}
		d, ok := to.e.Deadline()
		if !ok || d.After(w.now) {
			break
		}
		to.e.Advance(w.now)
	}
	if to == w.gw && out > 3*max(in, 100) {
		t.Fatalf("%d octets out for %d in", out, in)
	}
}

func (w *world) bounded(t *testing.T) {
	for _, e := range []*Endpoint{w.gw.e, w.cl.e} {
		l := e.cfg.Limits
		if e.counts.half > l.HalfOpen || e.counts.halfResumes > l.HalfResumes || e.counts.pieces > l.Reassemblies ||
			e.first.proved.len() > l.Queue || e.first.strange.len() > l.Queue || len(e.tombs.ring) > l.Tombstones || e.first.n > l.Duplicates || e.counts.cached > l.Responses || len(e.survivors) > l.Survivors {
			t.Fatalf("over a limit: %+v", e.counts)
		}
	}
}

// createRequest is a rekey of the client's Child SA.
func (w *world) createRequest(g, c *SA) []byte {
	own := spiBytes(g.child.out)
	m := w.cl.e.compose(c, wire.ExchangeCreateChildSA, false, g.recv.Next())
	addChildRequest(m, c, own[:])
	return append([]byte(nil), w.cl.e.protect(c, 0)...)
}

// initRequest and resumeRequest are first messages of another client.
func (w *world) initRequest() []byte { return w.firstOf(nil) }

func (w *world) resumeRequest() []byte { return w.firstOf(w.cl.ticket) }

func (w *world) firstOf(r *Record) []byte {
	n := w.newNode("other", clAddr, w.cl.conn)
	w.start(n)
	c := Command{Kind: CommandConnect, Conn: w.cl.conn, Local: clAddr, Remote: gwAddr}
	if r != nil {
		c.Ticket, c.Session, c.Until = r.Ticket, r.Session, r.Expires
	}
	held := w.flight
	w.flight = nil
	n.e.Command(w.now, c)
	w.drain(n)
	b := w.flight[0].Data
	w.flight = held
	return b
}

func TestNothingSecretIsPrinted(t *testing.T) {
	w := newWorld(t, "print")
	w.connect()
	g, _ := w.one()
	skd := fmt.Sprintf("%x", g.keys.D(g.suite))
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		for _, v := range []any{g, w.gw.e, w.gw.conn, w.gw.cfg, *w.gw.conn, g.half, g.keys} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, skd) || strings.Contains(text, "a key of the test") || strings.Contains(text, fmt.Sprintf("%x", "a key of the test")) {
				t.Errorf("%s of %T prints a secret", verb, v)
			}
		}
	}
}
