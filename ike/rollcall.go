package ike

import (
	"crypto/sha256"
	"slices"
	"time"

	"blackswan/spi"
	"blackswan/wire"
)

// The roll call (rules C): after a crash the gateway shows each client its
// token unasked. The message is the reply to an INFORMATIONAL request that
// nobody made: exchange 37, R=1, Message ID 0. It is an extension of ours; a
// foreign taker may drop it and use its own timers.

// rollCallVendor announces that we take a roll call.
var rollCallVendor = func() (v [16]byte) {
	h := sha256.Sum256([]byte("blackswan roll call v1"))
	copy(v[:], h[:])
	return v
}()

// roundsAt are the seconds after an entry's first showing at which it is shown
// again; three showings at most.
var roundsAt = [3]int64{0, 3e9, 15e9}

// callWindow clients at most are between their first showing and their return:
// who is called sooner than he can be served waits in a queue, and sends again.
// Who is not back after callPatience counts no more: he may be gone.
const (
	callWindow   = 1024
	callPatience = 1e9 // ns
)

// callBehind is how long what comes may wait for us while we call more.
const callBehind = 250 * time.Millisecond

// rollCall is what of it is still to do: three cursors over one list, the
// latest heard first.
type rollCall struct {
	lines   []line
	cursor  [3]int
	byShown map[wire.SPIs]int
	shown   uint64 // messages
	awaited int    // lines that callWindow is about
	behind  int    // cursor: lines before it are awaited no more
	held    int64  // nobody is called before
}

type line struct {
	e       Entry
	first   int64 // shown first
	stopped bool
}

// callRoll takes the entries of before the crash.
func (e *Endpoint) callRoll(entries []Entry) {
	c := &e.call
	if e.tokens == nil || e.cfg.RollCall == RollCallOff {
		return
	}
	fresh := make([]line, 0, len(entries))
	for _, x := range entries {
		if e.showable(x) {
			fresh = append(fresh, line{e: x})
		}
	}
	slices.SortStableFunc(fresh, func(a, b line) int { return int(b.e.Heard - a.e.Heard) })
	c.lines = append(c.lines, fresh...)
	for i := range c.lines {
		c.byShown[c.lines[i].e.SPIs] = i
	}
}

// showable is rule C3, but for what the roof knows: that the local address is
// ours now.
func (e *Endpoint) showable(x Entry) bool {
	ours := x.SPIs.R
	if x.Original {
		ours = x.SPIs.I
	}
	made, ok := e.sealer.Open(uint64(ours))
	if !ok {
		return false
	}
	verdict, _ := e.cfg.Boot.Verdict(made)
	young := e.wall-x.Heard <= int64(e.cfg.Timers.RollCallAge/1e9)
	to := e.cfg.RollCall == RollCallAll || x.Ours
	return verdict == spi.Over && young && to && e.usable(Packet{Local: x.Local, Remote: x.Remote}) && !x.Remote.Addr().IsInterfaceLocalMulticast()
}

// due reports whether a line can be shown at once; next is when one will be.
func (c *rollCall) due(now int64) bool { at := c.next(); return at != 0 && at <= now }

func (c *rollCall) next() int64 {
	at := int64(0)
	for r := range c.cursor {
		if i := c.skip(r); i < len(c.lines) {
			if r == 0 {
				at = sooner(at, c.opens())
			} else if first := c.lines[i].first; first != 0 {
				at = sooner(at, first+roundsAt[r])
			}
		}
	}
	if at != 0 {
		at = max(at, c.held)
	}
	return at
}

// hold calls nobody for a while when a packet has waited for us: back-pressure
// (rule C3), whatever it is that keeps us busy.
func (c *rollCall) hold(now int64, waited time.Duration) {
	if waited > callBehind {
		c.held = now + int64(callBehind)
	}
}

// opens is when the window lets one more be called.
func (c *rollCall) opens() int64 {
	if c.awaited < callWindow {
		return 1
	}
	return c.lines[c.behind].first + callPatience
}

// giveUp stops waiting for who is not back in time.
func (c *rollCall) giveUp(now int64) {
	for ; c.behind < c.cursor[0]; c.behind++ {
		switch l := &c.lines[c.behind]; {
		case l.stopped:
		case l.first+callPatience > now:
			return
		default:
			c.awaited--
		}
	}
}

// skip moves round r's cursor over lines that are not to be shown any more.
func (c *rollCall) skip(r int) int {
	for c.cursor[r] < len(c.lines) && (c.lines[c.cursor[r]].stopped || r > 0 && !c.lines[c.cursor[r]].e.Ours) {
		c.cursor[r]++
	}
	return c.cursor[r]
}

// showRollCall shows at most n lines, as far as callWindow allows: who comes
// back sets the pace.
func (e *Endpoint) showRollCall(n int) {
	c := &e.call
	c.giveUp(e.now)
	if c.held > e.now {
		return
	}
	for r := range c.cursor {
		for n > 0 {
			i := c.skip(r)
			if i == len(c.lines) || r == 0 && c.awaited >= callWindow {
				break
			}
			l := &c.lines[i]
			if r > 0 && (l.first == 0 || l.first+roundsAt[r] > e.now) {
				break
			}
			if r == 0 {
				l.first = e.now
				c.awaited++
			}
			c.cursor[r]++
			n--
			e.showLine(l.e)
		}
	}
	if len(c.lines) > 0 && c.cursor[len(c.cursor)-1] == len(c.lines) && c.skip(0) == len(c.lines) && c.skip(1) == len(c.lines) {
		*c = rollCall{byShown: map[wire.SPIs]int{}, shown: c.shown}
	}
}

// showLine sends one token to where the client was heard last.
func (e *Endpoint) showLine(x Entry) {
	tok, ok := e.tokens.Token(e.scratch.token[:0], x.Generation, uint64(x.SPIs.I), uint64(x.SPIs.R))
	if !ok {
		return
	}
	h := wire.Header{SPIi: x.SPIs.I, SPIr: x.SPIs.R, Exchange: wire.ExchangeInformational}
	e.call.shown++
	if !x.Original {
		h.Flags = wire.FlagInitiator // invalidSPI answers a peer: it turns the flag
	}
	e.reply(Packet{Local: x.Local, Remote: x.Remote, Marker: x.Marker}, e.invalidSPI(h, tok))
}

// stopRollCall ends the showing of an SA that was resumed.
func (e *Endpoint) stopRollCall(old wire.SPIs) {
	if i, ok := e.call.byShown[old]; ok {
		l := &e.call.lines[i]
		if l.stopped = true; l.first != 0 && i >= e.call.behind {
			e.call.awaited--
		}
		delete(e.call.byShown, old)
	}
}

// noteRollCall writes sa's line for the next crash (rule C2).
func (e *Endpoint) noteRollCall(sa *SA) {
	if e.cfg.RollCall == RollCallOff || e.tokens == nil || e.cfg.RollCall == RollCallOurs && !sa.rollCall {
		return
	}
	sa.noted = e.now
	e.record(sa, Record{Kind: RecordRollCall, Slot: int(sa.slot), Entry: Entry{
		SPIs: sa.spi, Original: sa.Original, Ours: sa.rollCall, Generation: sa.gen,
		Local: sa.local.addrPort(), Remote: sa.remote.addrPort(), Marker: sa.marker, Heard: e.wall,
	}})
}
