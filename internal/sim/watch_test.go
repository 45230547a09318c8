package sim

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"blackswan/ike"
	"blackswan/wire"
)

// A watch that never barks is none: each of these may never happen.
func TestWatchBarks(t *testing.T) {
	somewhere := netip.AddrPortFrom(gatewayAddr, 500)
	clear := func(x wire.ExchangeType, flags wire.Flags, spis wire.SPIs, id uint32, octets int) ike.Packet {
		m := wire.NewWriter(nil, wire.Header{SPIi: spis.I, SPIr: spis.R, Version: wire.Version, Exchange: x, Flags: flags, MessageID: id})
		m.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI, Data: make([]byte, octets-36)})
		return ike.Packet{Local: somewhere, Remote: somewhere, Data: m.Finish()}
	}
	other := wire.SPIs{I: 7, R: 9}
	for what, do := range map[string]func(w *World, g *machine, spis wire.SPIs){
		"the gateway has it": func(w *World, g *machine, spis wire.SPIs) {
			w.watch.hostEvent(w.Hosts[0], &ike.Event{Kind: ike.EventDetected, By: ike.ByRollCall, SPIs: spis, Connection: w.Clients[0].Conn})
		},
		"its client has it": func(w *World, g *machine, spis wire.SPIs) {
			w.watch.gatewayEvent(g, &ike.Event{Kind: ike.EventDetected, By: ike.ByQCDReply, SPIs: spis})
		},
		"without a ticket": func(w *World, g *machine, spis wire.SPIs) {
			w.watch.gatewayEvent(g, &ike.Event{Kind: ike.EventEstablished, Resumed: true, SPIs: other})
		},
		"2 live SAs": func(w *World, g *machine, spis wire.SPIs) {
			w.watch.shown[8], w.watch.shown[7] = ticketID{serial: 1}, ticketID{serial: 1}
			for _, s := range []wire.SPIs{other, {I: 8, R: 10}} {
				w.watch.gatewayEvent(g, &ike.Event{Kind: ike.EventEstablished, Resumed: true, SPIs: s})
			}
			w.watch.check()
		},
		"spent ticket": func(w *World, g *machine, spis wire.SPIs) {
			w.watch.shown[7], w.watch.confirmed[ticketID{serial: 1}] = ticketID{serial: 1}, 1
			w.watch.gatewayEvent(g, &ike.Event{Kind: ike.EventEstablished, Resumed: true, SPIs: other})
		},
		"ticket of a deleted SA": func(w *World, g *machine, spis wire.SPIs) {
			w.watch.hostEvent(w.Hosts[0], &ike.Event{Kind: ike.EventDown, Reason: "deleted by us", SPIs: spis, Connection: w.Clients[0].Conn})
			w.watch.shown[7] = ticketID{lineage: w.watch.lineage[spis], serial: 2}
			w.watch.gatewayEvent(g, &ike.Event{Kind: ike.EventEstablished, Resumed: true, SPIs: other})
		},
		"confirmed twice": func(w *World, g *machine, spis wire.SPIs) {
			for range 2 {
				w.watch.gatewayEvent(g, &ike.Event{Kind: ike.EventConfirmed, SPIs: spis})
			}
		},
		"100 octets of IKE_SESSION_RESUME": func(w *World, g *machine, spis wire.SPIs) {
			w.watch.gatewaySent(g, clear(wire.ExchangeSessionResume, wire.FlagResponse, other, 0, 100))
		},
		"77 octets to a request of 60": func(w *World, g *machine, spis wire.SPIs) {
			g.cause = 60
			w.watch.gatewaySent(g, clear(wire.ExchangeInformational, wire.FlagResponse, other, 3, 77))
		},
		"to an ESP packet of 50": func(w *World, g *machine, spis wire.SPIs) {
			g.cause = 50
			w.watch.gatewaySent(g, clear(wire.ExchangeInformational, wire.FlagInitiator, other, 0, 76))
		},
		"4 times": func(w *World, g *machine, spis wire.SPIs) {
			g.cause = 0
			for range 4 {
				w.watch.gatewaySent(g, clear(wire.ExchangeInformational, wire.FlagResponse, other, 0, 76))
			}
		},
	} {
		w := New(Options{Seed: 1})
		w.Connect(0)
		w.Run(time.Second)
		g := w.Gateway.shards[0]
		if err := w.atRest(); err != nil {
			t.Fatal(err)
		}
		do(w, g, views(g)[0].SPIs)
		if err := w.Err(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: the watch says %v", what, err)
		}
	}
}

// Rest does not take a gateway's word for it: an SA that one end has alone, or
// under other keys, is no rest.
func TestRestTellsTheEndsApart(t *testing.T) {
	for what, do := range map[string]func(w *World){
		"which the gateway has not": func(w *World) { w.Gateway.shards[0].command(ike.Command{Kind: ike.CommandForget}) },
		"the gateway has 1":         func(w *World) { w.Hosts[0].m.command(ike.Command{Kind: ike.CommandForget}) },
		"the keys differ":           func(w *World) { w.watch.keys[1] = w.watch.keys[0]; w.watch.gatewayDied(w.Gateway) },
		"the gateway is down":       func(w *World) { w.Gateway.kill() },
		"Child SAs in the":          func(w *World) { w.Hosts[0].m.plane[99] = child{} },
		"keys of the Child SAs": func(w *World) {
			for sa, c := range w.Hosts[0].m.plane {
				c.encrIn, c.encrOut = c.encrOut, c.encrIn
				w.Hosts[0].m.plane[sa] = c
			}
		},
	} {
		w := New(Options{Seed: 1})
		w.Connect(0)
		w.Run(time.Second)
		do(w)
		if err := w.atRest(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: at rest says %v", what, err)
		}
	}
}
