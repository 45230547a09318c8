package ike

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"blackswan/wire"
)

var update = flag.Bool("update", false, "write the conversations in testdata anew")

// Conversations are what gateway and client say to each other, in testdata/*.txt:
// above "---" a script, one word of stage after the other, below it what came of
// it. Times are since the beginning; what is inside SK is shown, names only.
//
//	tokens off | roll call off | cookies always | fragment 400 | login 10m | keys 4h 1h | mobike | redirects     before the first word
//	connect              the client connects, with the ticket of its jar
//	advance 30s          time passes
//	crash gw             kill -9 and a start; the roll call goes on from its table
//	crash gw keys        the same, and all keys are lost
//	restart cl           kill -9 of the client, which connects again with its jar
//	restart cl empty     the same, and the jar is lost
//	close | delete gw    DELETE by the client, by the gateway
//	drop 1 gw IKE_AUTH   the gateway's next message of that exchange is lost
//	drain gw | stop gw   the gateway sends everybody to the second one, whose arrows are double; it is gone
//	cut | heal           nothing gets through, all does
//	move 203.0.113.9     the client has that address now
//	sleep 1h             the client slept so long
//	rekey child cl       the client's Child SA is worn; or "ike"; by "gw" or by "both" at once
//	forge nack | token | hint    somebody answers the client in clear
func TestConversations(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no conversations in testdata")
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(b), "---\n")
			got := newStage(t, script).play()
			if *update {
				if err := os.WriteFile(f, []byte(script+"---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s tells another story (-update writes it):\n%s", f, got)
			}
		})
	}
}

// stage plays one script.
type stage struct {
	w      *world
	script []string
	first  time.Time
	out    strings.Builder
	told   map[*node]int  // events
	drop   map[string]int // "gw IKE_AUTH": how many
	cut    bool
}

func newStage(t *testing.T, script string) *stage {
	s := &stage{script: strings.Split(strings.TrimSpace(script), "\n"), told: map[*node]int{}, drop: map[string]int{}}
	s.w = newWorld(t, s.script[0], func(gw, cl *Config) {
		for _, c := range []*Config{gw, cl} {
			c.Timers.Retry.Factor, c.Timers.Liveness.Factor = 200, 200
		}
		for _, line := range s.script {
			s.setting(line, gw, cl)
		}
	})
	if slices.Contains(s.script, "redirects") {
		s.w.second()
	}
	s.first = s.w.now
	s.w.lose = s.sent
	return s
}

// setting takes what is said before the curtain rises, and tells whether it was that.
func (s *stage) setting(line string, gw, cl *Config) bool {
	switch f := strings.Fields(line); {
	case line == "tokens off":
		gw.Tokens, cl.Tokens = false, false
	case line == "roll call off":
		gw.RollCall, cl.RollCall = RollCallOff, RollCallOff
	case line == "cookies always":
		gw.Limits.CookieAt, gw.Limits.ResumeCookieAt = 0, 0
	case line == "redirects":
		for _, c := range cl.Connections {
			c.Redirects, c.Gateways = true, []Gateway{{Name: "gw2.test", Addr: secondAddr}}
		}
	case line == "mobike":
		for _, c := range append(gw.Connections, cl.Connections...) {
			c.MOBIKE = true
		}
	case len(f) == 3 && f[0] == "keys":
		for _, c := range append(gw.Connections, cl.Connections...) {
			c.Lifetime, _ = time.ParseDuration(f[1])
			c.ChildLifetime, _ = time.ParseDuration(f[2])
		}
	case len(f) == 2 && f[0] == "login":
		for _, c := range gw.Connections {
			c.Reauth, _ = time.ParseDuration(f[1])
		}
	case len(f) == 2 && f[0] == "fragment":
		n, _ := strconv.Atoi(f[1])
		for _, c := range append(gw.Connections, cl.Connections...) {
			c.Fragment = n
		}
	default:
		return false
	}
	return true
}

func (s *stage) play() string {
	for _, line := range s.script {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" || s.setting(line, &Config{}, &Config{}) {
			continue
		}
		fmt.Fprintf(&s.out, "%s\n", line)
		s.word(line, f)
		s.w.advanceNodes()
		s.w.deliver()
		s.events()
		for _, n := range s.w.nodes() {
			if at, ok := n.e.Deadline(); ok {
				fmt.Fprintf(&s.out, "    %s due %s\n", n.name, s.clock(at))
			}
		}
	}
	return s.out.String()
}

// word does one line.
func (s *stage) word(line string, f []string) {
	w := s.w
	switch {
	case line == "connect":
		w.connect()
	case f[0] == "advance" && len(f) == 2:
		d, err := time.ParseDuration(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		s.advance(d)
	case line == "crash gw", line == "crash gw keys":
		s.crash(len(f) == 3)
	case line == "restart cl", line == "restart cl empty":
		w.crash(w.cl)
		if len(f) == 3 {
			w.cl.ticket = nil
		}
		w.connect()
	case line == "close":
		w.cl.e.Command(w.now, Command{Kind: CommandClose, Conn: w.cl.conn})
		w.drain(w.cl)
	case line == "delete gw":
		w.gw.e.Command(w.now, Command{Kind: CommandDelete, SA: w.gw.live()[0].handle()})
		w.drain(w.gw)
	case f[0] == "drop" && len(f) == 4:
		s.drop[f[2]+" "+f[3]], _ = strconv.Atoi(f[1])
	case line == "cut", line == "heal":
		s.cut = line == "cut"
	case line == "drain gw":
		w.gw.e.Command(w.now, Command{Kind: CommandDrain, Name: secondAddr.Addr().String()})
		w.drain(w.gw)
	case line == "stop gw":
		w.gw.e.Command(w.now, Command{Kind: CommandForget})
		w.drain(w.gw)
		w.gw.addr, w.gw.also = netip.AddrPort{}, nil
	case f[0] == "move" && len(f) == 2:
		w.moveClient(netip.AddrPortFrom(netip.MustParseAddr(f[1]), 500))
	case f[0] == "sleep" && len(f) == 2:
		d, err := time.ParseDuration(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		w.cl.e.Command(w.now, Command{Kind: CommandSuspended, For: d})
		w.drain(w.cl)
	case f[0] == "rekey" && len(f) == 3:
		for _, n := range []*node{w.gw, w.cl} {
			if f[2] == n.name || f[2] == "both" {
				w.act(n, f[0]+" "+f[1])
			}
		}
	case f[0] == "forge" && len(f) == 2:
		s.forge(f[1])
	default:
		w.t.Fatalf("%q is no word of the stage", line)
	}
}

// advance goes from deadline to deadline, so that every event has its time.
func (s *stage) advance(d time.Duration) {
	w := s.w
	for end := w.now.Add(d); w.now.Before(end); s.events() {
		next := end
		for _, n := range w.nodes() {
			if at, ok := n.e.Deadline(); ok && at.Before(next) {
				next = at
			}
		}
		w.run(max(next.Sub(w.now), 0))
	}
}

func (s *stage) crash(keys bool) {
	w := s.w
	if keys {
		strange := w.newNode("gw", w.gw.addr, w.gw.conn)
		w.gw.cfg.Ring, w.gw.cfg.QCD, w.gw.cfg.SPIKeys = strange.cfg.Ring, strange.cfg.QCD, strange.cfg.SPIKeys
	}
	w.crash(w.gw)
	w.callRoll(w.gw)
}

// forge lets somebody who has no keys answer the client's newest SA in clear.
func (s *stage) forge(what string) {
	w := s.w
	var sa *SA
	for _, x := range w.cl.e.slots {
		if x.sa != nil {
			sa = x.sa
		}
	}
	h := wire.Header{SPIi: sa.spi.I, SPIr: sa.spi.R, Version: wire.Version, Exchange: wire.ExchangeInformational, Flags: wire.FlagResponse}
	if what == "nack" {
		h.Exchange, h.SPIr = wire.ExchangeSessionResume, 0
	}
	m := wire.NewWriter(nil, h)
	switch what {
	case "nack":
		m.Notify(wire.Notify{Type: wire.NotifyTicketNACK})
	case "token":
		m.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI})
		m.Notify(wire.Notify{Protocol: wire.ProtocolIKE, Type: wire.NotifyQCDToken, Data: make([]byte, 32)})
	case "hint":
		m.Notify(wire.Notify{Type: wire.NotifyInvalidIKESPI})
	default:
		w.t.Fatalf("nobody can forge %q", what)
	}
	w.cl.e.Packet(w.now, Packet{Local: w.cl.addr, Remote: w.gw.addr, Data: m.Finish()})
	w.drain(w.cl)
}

// sent writes one rung of the ladder, and judges whether it is lost.
func (s *stage) sent(from *node, p Packet) bool {
	s.events()
	h, _ := wire.ParseHeader(p.Data)
	line := wire.AppendLadder(nil, h, p.Data[wire.HeaderLen:], nil)
	if h.NextPayload == wire.PayloadSK {
		if first, plain := s.w.inside(h, p.Data); plain != nil {
			line = wire.AppendLadderSK(nil, h, first, plain)
		}
	}
	which := from.name + " " + h.Exchange.String()
	lost := s.cut || s.drop[which] > 0
	s.drop[which] = max(s.drop[which]-1, 0)
	arrow := map[bool]string{true: "->", false: "<-"}[from == s.w.cl]
	if from.addr == secondAddr || p.Remote.Addr() == secondAddr.Addr() {
		arrow = map[string]string{"->": "=>", "<-": "<="}[arrow]
	}
	fmt.Fprintf(&s.out, "%s %s %s%s\n", s.clock(s.w.now), arrow, line, map[bool]string{true: "  lost"}[lost])
	return lost
}

func (s *stage) clock(at time.Time) string {
	d := at.Sub(s.first).Round(time.Millisecond)
	return fmt.Sprintf("%02d:%02d.%03d", int(d.Minutes()), int(d.Seconds())%60, d.Milliseconds()%1000)
}

var eventNames = map[EventKind]string{
	EventEstablished: "established", EventConfirmed: "confirmed", EventDown: "down", EventDetected: "detected", EventResuming: "resuming",
	EventFallback: "fallback", EventFailed: "failed", EventChildFailed: "child failed", EventTicket: "ticket", EventRefused: "refused",
	EventCounterFull: "counter full", EventReauth: "reauth", EventMoved: "moved", EventRedirected: "redirected", EventDrained: "drained", EventOutlived: "outlived", EventRekeyed: "rekeyed", EventChild: "child",
}

// events writes what happened since the last time.
func (s *stage) events() {
	for _, n := range s.w.nodes() {
		for _, e := range n.events[s.told[n]:] {
			text := eventNames[e.Kind]
			switch {
			case e.Kind == EventEstablished && e.Resumed:
				text += ", resumed"
			case e.By != ByNothing:
				text += " by " + e.By.String()
			case e.Reason != "":
				text += ": " + e.Reason
			case e.Err != nil:
				text += ": " + e.Err.Error()
			}
			fmt.Fprintf(&s.out, "%s       %s %s\n", s.clock(s.w.now), n.name, text)
		}
		s.told[n] = len(n.events)
	}
}
