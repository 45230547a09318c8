package blackswan

import (
	"fmt"
	"net/netip"
	"slices"

	"blackswan/ike"
	"blackswan/internal/propose"
	"blackswan/wire"
)

// readyPolicies reads what the Child SAs of c carry: those that are listed, or
// the one that c itself describes.
func (c *Connection) readyPolicies(p *peer, at string, f *findings) {
	base := ike.Policy{ESP: propose.DefaultESP()}
	for _, a := range p.addresses {
		base.LocalTS = append(base.LocalTS, wire.Prefix(netip.PrefixFrom(a.Addr(), a.Addr().BitLen())))
	}
	own := Child{Mode: c.Mode, ESP: c.ESP, LocalTS: c.LocalTS, RemoteTS: c.RemoteTS}
	p.Policy = own.ready(base, at, f)
	if len(c.Children) == 0 {
		return
	}
	if len(c.Children) > ike.MaxPolicies {
		f.add(at+".children", fmt.Sprintf("write at most %d, with more prefixes each", ike.MaxPolicies), "%d Child SAs of one IKE SA", len(c.Children))
		return
	}
	all := make([]ike.Policy, len(c.Children))
	for i := range c.Children {
		at := fmt.Sprintf("%s.children[%d]", at, i)
		all[i] = c.Children[i].ready(p.Policy, at, f)
		distinct(all[:i], &all[i], at, f)
	}
	p.Policy, p.Further = all[0], all[1:]
}

// straight tells whether a Child SA of p may be in transport mode.
func (p *peer) straight() bool {
	for policy := range p.Policies {
		if policy.Mode != ike.ModeTunnel {
			return true
		}
	}
	return false
}

// ready is c as the machine reads it; what c does not say is as in base.
func (c *Child) ready(base ike.Policy, at string, f *findings) ike.Policy {
	p := base
	p.Child = c.Name
	f.oneOf(at+".mode", c.Mode, "tunnel", "transport", "either")
	if c.Mode != "" {
		p.Mode = map[string]ike.Mode{"transport": ike.ModeTransport, "either": ike.ModeEither}[c.Mode]
	}
	if len(c.ESP) > 0 {
		p.ESP = espProposals(c.ESP, at+".esp", f)
	}
	if p.Mode != ike.ModeTunnel {
		c.checkHosts(at, f)
		p.LocalTS, p.RemoteTS = nil, nil
		return p
	}
	if len(c.LocalTS) > 0 {
		p.LocalTS = selectors(c.LocalTS, at+".local_ts", f)
	}
	if len(c.RemoteTS) > 0 {
		p.RemoteTS = selectors(c.RemoteTS, at+".remote_ts", f)
	}
	return p
}

// checkHosts wants no selectors of a Child SA that is between the two sides
// themselves.
func (c *Child) checkHosts(at string, f *findings) {
	for _, x := range []struct {
		field string
		texts []string
	}{{".local_ts", c.LocalTS}, {".remote_ts", c.RemoteTS}} {
		if len(x.texts) > 0 && !slices.Equal(x.texts, []string{"dynamic"}) {
			f.add(at+x.field, `remove it, or write [dynamic]`, "transport mode is between the two sides themselves, %q are others", x.texts)
		}
	}
}

// distinct wants p to have a name, and traffic, that none of the others has.
func distinct(others []ike.Policy, p *ike.Policy, at string, f *findings) {
	if p.Child == "" {
		f.add(at+".name", "give it a name: the log and the status show it", "one of several Child SAs has no name")
	}
	for i := range others {
		o := &others[i]
		switch {
		case o.Child == p.Child && p.Child != "":
			f.add(at+".name", "give each a name of its own", "Child SA %q is there twice", p.Child)
		case slices.Equal(o.LocalTS, p.LocalTS) && slices.Equal(o.RemoteTS, p.RemoteTS):
			f.add(at, "give it a local_ts or remote_ts of its own", "Child SAs %q and %q carry the same", o.Child, p.Child)
		}
	}
}

func espProposals(texts []string, at string, f *findings) (out []propose.ESP) {
	for i, text := range texts {
		x, err := propose.ParseESP(text)
		if err != nil {
			f.wrap(fmt.Sprintf("%s[%d]", at, i), proposalCure, err)
		}
		out = append(out, x)
	}
	return out
}

// selectors reads prefixes; "dynamic" alone is none: the addresses of the two
// sides themselves.
func selectors(texts []string, at string, f *findings) (out []wire.Selector) {
	if len(texts) == 1 && texts[0] == "dynamic" {
		return nil
	}
	for _, prefix := range prefixes(texts, at, f) {
		out = append(out, wire.Prefix(prefix))
	}
	return out
}
