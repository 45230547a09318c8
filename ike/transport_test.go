package ike

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"blackswan/wire"
)

// modeWorld has peers whose only Child SA is between themselves, of those modes.
func modeWorld(t *testing.T, seed string, gw, cl Mode, change ...func(gw, cl *Config)) *world {
	return newWorld(t, seed, append([]func(gw, cl *Config){func(g, c *Config) {
		for _, x := range []struct {
			conn *Connection
			mode Mode
		}{{g.Connections[0], gw}, {c.Connections[0], cl}} {
			x.conn.Mode, x.conn.LocalTS, x.conn.RemoteTS = x.mode, nil, nil
			x.conn.ChildLifetime = time.Hour
		}
	}}, change...)...)
}

var modeNames = [...]string{ModeTunnel: "tunnel", ModeTransport: "transport", ModeEither: "either"}

// modes are those of a node's Child SAs.
func (n *node) modes() (all []string) {
	for _, c := range n.plane() {
		all = append(all, map[bool]string{true: "transport", false: "tunnel"}[c.Transport])
	}
	return all
}

// RFC 7296 1.3.1: the initiator asks for transport mode, the responder says it
// back or does not; on a path with a NAT nobody has it. Each row is what comes of
// it, and why there is none if there is none.
func TestRFC7296_1_3_1_TransportMode(t *testing.T) {
	encap := func(gw, cl *Config) { cl.ForceEncap = true }
	declined := errTunnel.Error()
	const refused = "NO_PROPOSAL_CHOSEN received"
	for _, row := range []struct {
		gw, cl       Mode
		straight, by string // without a NAT, with one
	}{
		{ModeTunnel, ModeTunnel, "tunnel", "tunnel"},
		{ModeTunnel, ModeTransport, declined, declined},
		{ModeTunnel, ModeEither, "tunnel", "tunnel"},
		{ModeTransport, ModeTunnel, refused, refused},
		{ModeTransport, ModeTransport, "transport", refused},
		{ModeTransport, ModeEither, "transport", refused},
		{ModeEither, ModeTunnel, "tunnel", "tunnel"},
		{ModeEither, ModeTransport, "transport", declined},
		{ModeEither, ModeEither, "transport", "tunnel"},
	} {
		for _, childless := range []bool{false, true} {
			for want, change := range map[string][]func(gw, cl *Config){row.straight: nil, row.by + " ": {encap}} {
				name := fmt.Sprintf("%s and %s, childless %v, %d", modeNames[row.gw], modeNames[row.cl], childless, len(change))
				t.Run(name, func(t *testing.T) {
					w := modeWorld(t, name, row.gw, row.cl, append(change, func(_, cl *Config) { cl.Connections[0].Childless = childless })...)
					if len(change) > 0 {
						want = want[:len(want)-1]
					}
					tp := w.watch()
					w.connect()
					w.run(time.Second)
					modeIs(t, w, want)
					asks := row.cl != ModeTunnel && len(change) == 0
					for _, s := range tp.seen {
						if makes := s.at(wire.PayloadSA) >= 0 && s.sealed; makes && s.has(wire.NotifyUseTransportMode) != (asks && (s.from == w.cl || want == "transport")) {
							t.Errorf("USE_TRANSPORT_MODE %v of %s", s.has(wire.NotifyUseTransportMode), s.from.name)
						}
					}
				})
			}
		}
	}
}

// modeIs fails unless both sides have one Child SA of that mode, or the client
// says that why it has none.
func modeIs(t *testing.T, w *world, want string) {
	t.Helper()
	if want == "tunnel" || want == "transport" {
		g, _ := w.agreed(1)
		if !slices.Equal(w.gw.modes(), []string{want}) || !slices.Equal(w.cl.modes(), []string{want}) {
			t.Fatalf("%q and %q, want %s\n%s", w.gw.modes(), w.cl.modes(), want, w.text())
		}
		k := w.cl.kids[len(w.cl.kids)-1]
		if k.LocalTS[0].String() != clAddr.Addr().String() || k.RemoteTS[0].String() != gwAddr.Addr().String() || len(k.LocalTS)+len(k.RemoteTS) != 2 {
			t.Errorf("it carries %v and %v", k.LocalTS, k.RemoteTS)
		}
		if v := w.gw.e.view(w.now, g); v.Child.Transport != (want == "transport") {
			t.Errorf("shown is %+v", v.Child)
		}
		return
	}
	w.agreed(0)
	v := w.cl.e.view(w.now, w.cl.live()[0])
	if len(v.Wanted) != 1 || v.Wanted[0].Refusal == nil || v.Wanted[0].Refusal.Error() != want {
		t.Fatalf("wanted: %+v, want %s\n%s", v.Wanted, want, w.text())
	}
	if last := w.cl.last(EventChildFailed); last.Err == nil || last.Err.Error() != want {
		t.Errorf("told is %v", last.Err)
	}
}

// RFC 7296 1.3.1: an initiator that cannot do without deletes what was made, and
// asks again later.
func TestRFC7296_1_3_1_TransportModeDeclined(t *testing.T) {
	w := modeWorld(t, "declined", ModeTunnel, ModeTransport)
	tp := w.watch()
	w.connect()
	w.run(20 * time.Minute)
	modeIs(t, w, errTunnel.Error())
	if n := len(w.cl.kids); n < 4 || n > 12 || tp.deletes(w.cl, wire.ProtocolESP) != n {
		t.Errorf("made %d times, deleted %d times", n, tp.deletes(w.cl, wire.ProtocolESP))
	}
	w.gw.conn.Mode = ModeEither
	w.run(11 * time.Minute)
	modeIs(t, w, "transport")
	outcome(t, w, 1, 0)
}

// A rekey keeps the mode, whoever begins it; so do a resume and a rekey of the
// IKE SA.
func TestTransportModeLives(t *testing.T) {
	w := modeWorld(t, "lives", ModeTransport, ModeTransport, func(gw, cl *Config) {
		gw.Connections[0].Lifetime, cl.Connections[0].Lifetime = 4*time.Hour, 4*time.Hour
	})
	w.connect()
	w.run(time.Second)
	modeIs(t, w, "transport")
	for _, n := range w.nodes() {
		w.wear(n, ReportWorn)
		w.deliver()
		w.run(time.Minute)
		modeIs(t, w, "transport")
	}
	w.run(9 * time.Hour)
	modeIs(t, w, "transport")
	w.crash(w.gw)
	w.cl.kids, w.cl.removed = nil, nil
	w.callRoll(w.gw)
	w.run(time.Second)
	modeIs(t, w, "transport")
	outcome(t, w, 1, 1)

	w.gw.conn.Mode = ModeTunnel // the next rekey is declined: the old one stays until its end
	w.wear(w.cl, ReportWorn)
	w.deliver()
	w.run(time.Second)
	_, c := w.one()
	for k := range c.installed {
		if k.phase == phaseUp && !k.ts.straight {
			t.Error("the new one has taken its place")
		}
	}
	if !c.carries() || w.cl.last(EventChildFailed).Err != errTunnel {
		t.Errorf("carries %v, told is %v", c.carries(), w.cl.last(EventChildFailed).Err)
	}
}

// USE_TRANSPORT_MODE in a response to who has not asked for it: the two are out of
// step.
func TestRFC7296_1_3_1_NobodyHasAsked(t *testing.T) {
	w := modeWorld(t, "unasked", ModeTunnel, ModeTunnel)
	w.connect()
	w.run(time.Second)
	_, c := w.agreed(1)
	w.cl.e.at(w.now)
	x := &creation{ni: make([]byte, 32), sent: true}
	m := wire.NewWriter(nil, wire.Header{})
	m.Notify(wire.Notify{Type: wire.NotifyUseTransportMode})
	several(&m, c, c.conn.LocalTS, c.conn.RemoteTS)
	h, err := wire.ParseHeader(m.Buf)
	if err != nil {
		t.Fatal(err)
	}
	w.cl.e.chill(c).ours = x
	w.cl.e.created(c, h.NextPayload, m.Buf[wire.HeaderLen:], nil)
	w.drain(w.cl)
	if w.cl.count(EventRefused) != 1 || c.state != stateDeleting {
		t.Errorf("state %d\n%s", c.state, w.dump())
	}
}
