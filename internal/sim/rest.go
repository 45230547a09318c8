package sim

import (
	"fmt"
	"time"

	"blackswan/ike"
	"blackswan/wire"
)

// Rest heals the network and lets time pass until all is as it should be: every
// client has one SA, both ends agree about it, and nothing half done is left.
// It tells what is not so after most.
func (w *World) Rest(most time.Duration) error {
	w.Network = Network{Delay: 5 * time.Millisecond}
	var err error
	for end := w.now.Add(most); w.now.Before(end); {
		w.Run(time.Second)
		if w.fault != nil {
			return w.fault
		}
		if err = w.atRest(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("seed %d, not at rest after %v: %w", w.options.Seed, most, err)
}

// Fulls is how many full handshakes were finished, Resumes how many resumes.
func (w *World) Fulls() (n int) {
	for _, c := range w.Clients {
		n += c.Fulls
	}
	return n
}

func (w *World) Resumes() (n int) {
	for _, c := range w.Clients {
		n += c.Resumes
	}
	return n
}

// Rekeys is how many rekeys of IKE SAs the clients have seen.
func (w *World) Rekeys() (n int) {
	for _, c := range w.Clients {
		n += c.Rekeys
	}
	return n
}

// Fallbacks is how often a client gave up a ticket that it had.
func (w *World) Fallbacks() int { return w.watch.fallbacks }

// Detected is how many crashes of the gateway clients learned of so.
func (w *World) Detected(by ike.By) int { return w.watch.detected[by] }

// Tokens is how many messages with a token the gateway has sent.
func (w *World) Tokens() int { return w.watch.tokens }

func (w *World) atRest() error {
	if !w.Gateway.Up() && (w.Second == nil || !w.Second.Up()) {
		return fmt.Errorf("the gateway is down")
	}
	ends := map[wire.SPIs]end{}
	for _, g := range w.gateways {
		for _, m := range g.running() {
			if err := quiet(m); err != nil {
				return err
			}
			for _, v := range views(m) {
				ends[v.SPIs] = end{m, v}
			}
		}
	}
	wanted := 0
	for _, c := range w.Clients {
		if c.wanted {
			wanted++
		}
	}
	met := map[*ike.Connection]bool{}
	for _, h := range w.Hosts {
		if err := quiet(h.m); err != nil {
			return err
		}
		for _, v := range views(h.m) {
			if met[v.Connection] {
				return fmt.Errorf("%s has two SAs", w.watch.clients[v.Connection].name)
			}
			met[v.Connection] = true
			g, ok := ends[v.SPIs]
			if !ok {
				return fmt.Errorf("%s has %s, which the gateway has not", w.watch.clients[v.Connection].name, v.SPIs)
			}
			if err := w.agreed(end{h.m, v}, g); err != nil {
				return err
			}
		}
	}
	if len(met) != wanted || len(ends) != wanted {
		return fmt.Errorf("%d of %d clients have an SA, the gateway has %d", len(met), wanted, len(ends))
	}
	return nil
}

// end is one end of an SA.
type end struct {
	m *machine
	v ike.View
}

// agreed compares the two ends: keys of the IKE SA, SPIs and keys of the Child.
func (w *World) agreed(c, g end) error {
	a, known := w.watch.keys[0][c.v.SPIs]
	if !known || a != w.watch.keys[1][c.v.SPIs] {
		return fmt.Errorf("%s: the keys differ", c.v.SPIs)
	}
	x, xKnown := c.m.plane[c.v.Child.In]
	y, yKnown := g.m.plane[g.v.Child.In]
	switch {
	case c.v.Child.In == 0 || c.v.Child.In != g.v.Child.Out || c.v.Child.Out != g.v.Child.In:
		return fmt.Errorf("%s: the Child SAs are %08x %08x and %08x %08x", c.v.SPIs, c.v.Child.In, c.v.Child.Out, g.v.Child.In, g.v.Child.Out)
	case !xKnown || !yKnown:
		return fmt.Errorf("%s: the data plane has another Child SA than the machine", c.v.SPIs)
	case x.encrIn == "" || x.encrIn != y.encrOut || x.encrOut != y.encrIn || x.integIn != y.integOut || x.integOut != y.integIn:
		return fmt.Errorf("%s: the keys of the Child SAs differ", c.v.SPIs)
	case w.natted[y.remote] != c.m.owner:
		return fmt.Errorf("%s: the gateway sends its traffic to %v, where the client is not", c.v.SPIs, y.remote)
	}
	return nil
}

// quiet says that a machine holds nothing that is half done.
func quiet(m *machine) error {
	if m.e == nil {
		return fmt.Errorf("%s is down", m.name)
	}
	switch c := m.e.Count(); {
	case c.HalfOpen+c.Claims+c.Questions+c.Reassemblies > 0:
		return fmt.Errorf("%s: %d half-open SAs, %d claims, %d questions, %d reassemblies are left", m.name, c.HalfOpen, c.Claims, c.Questions, c.Reassemblies)
	case len(m.held) > 0:
		return fmt.Errorf("%s: packets wait for the disk", m.name)
	case len(views(m)) != len(m.plane):
		return fmt.Errorf("%s: %d SAs, %d Child SAs in the data plane", m.name, len(views(m)), len(m.plane))
	case c.Established != len(views(m)):
		return fmt.Errorf("%s: counts %d SAs and has %d", m.name, c.Established, len(views(m)))
	}
	return nil
}
