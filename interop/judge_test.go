package interop

import (
	"slices"
	"testing"
	"time"
)

// tshark is the judge of our packets: a full handshake, the crash, the token
// in clear, the resume. Nothing malformed, every SK opened with our key log,
// and the notifies are those of the RFCs, by name and number.
func TestTsharkJudgesACrash(t *testing.T) {
	asked, unasked := usual, usual
	asked.top, asked.more = "roll_call: off\n", "dpd: 1s\n"
	unasked.more = "dpd: 1h\n"
	for _, c := range []struct {
		name string
		profile
		rollCall  bool
		detection []rung
	}{
		{"the client asks for the token", asked, false, []rung{
			{"RFC 7296 2.4", "37", "client", nil},
			{"RFC 6290 4.5", "37", "gateway", shownToken},
		}},
		{"roll call", unasked, true, []rung{{"rule C1", "37", "gateway", shownToken}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			packets := crash(t, c.profile, c.rollCall)
			packets.WellFormed(t)
			packets.Opened(t)
			packets.climb(t, slices.Concat(handshake, c.detection, resume))
			dialled := map[string]bool{} // sent again or not
			for _, p := range packets.Exchange("34") {
				dialled[p.First("isakmp.ispi")] = true
			}
			if len(dialled) != 1 {
				t.Errorf("IKE_SA_INIT of %d SAs, want the first handshake's alone:\n%s", len(dialled), packets.Ladder())
			}
		})
	}
}

// crash captures how a client connects, its gateway is killed, and it resumes.
// With rollCall the kill waits until the table of C2 has the client.
func crash(t *testing.T, p profile, rollCall bool) Packets {
	t.Helper()
	gateway, client := lab.Node(t, "gateway-j"), lab.Node(t, "client-j")
	ours := gateway.Gateway(t, p.ourGateway(gateway), nil)
	capture := client.Capture(t)
	before := time.Now()
	peer := client.Connect(t, p.ourClient(gateway), nil)
	peer.AwaitUp(t)
	ours.AwaitUp(t)
	if rollCall {
		ours.AwaitStored(t, before)
	}
	ours.Kill()
	ours.Restart(t)
	until(t, "our client to resume", func() bool {
		status, err := peer.Status(t)
		return err == nil && status.Totals.Resumed == 1
	})
	if sa := ours.AwaitUp(t); !sa.Resumed {
		t.Errorf("our gateway's SA: %+v", sa)
	}
	peer.Interrupt() // with a DELETE in the new SA
	return capture.End(t, peer.KeyLog())
}

// rung is a packet that a text wants to see: in which exchange, from whom, and
// with which notifies; others may stand beside them.
type rung struct {
	text, exchange, from string
	notifies             []string
}

var (
	shownToken = []string{"INVALID_IKE_SPI (4)", "QUICK_CRASH_DETECTION (16419)"}

	handshake = []rung{
		{"RFC 7296 1.2", "34", "client", []string{"NAT_DETECTION_SOURCE_IP (16388)", "NAT_DETECTION_DESTINATION_IP (16389)",
			"IKEV2_FRAGMENTATION_SUPPORTED (16430)", "SIGNATURE_HASH_ALGORITHMS (16431)"}},
		{"RFC 7296 1.2", "34", "gateway", []string{"NAT_DETECTION_SOURCE_IP (16388)", "NAT_DETECTION_DESTINATION_IP (16389)",
			"IKEV2_FRAGMENTATION_SUPPORTED (16430)"}},
		{"RFC 5723 4.1, RFC 6290 4.2", "35", "client", []string{"TICKET_REQUEST (16410)", "QUICK_CRASH_DETECTION (16419)"}},
		{"RFC 5723 4.1, RFC 6290 4.2", "35", "gateway", []string{"TICKET_LT_OPAQUE (16409)", "QUICK_CRASH_DETECTION (16419)"}},
	}
	resume = []rung{
		{"RFC 5723 4.3.2", "38", "client", []string{"TICKET_OPAQUE (16413)"}},
		{"RFC 5723 4.3.2", "38", "gateway", nil},
		{"RFC 5723 4.3.3, RFC 6290 4.3", "35", "client", []string{"TICKET_REQUEST (16410)", "QUICK_CRASH_DETECTION (16419)"}},
		{"RFC 5723 4.3.3, RFC 6290 4.3", "35", "gateway", []string{"TICKET_LT_OPAQUE (16409)", "QUICK_CRASH_DETECTION (16419)"}},
		{"RFC 7296 1.4.1", "37", "client", nil},
		{"RFC 7296 1.4.1", "37", "gateway", nil},
	}
)

// climb fails the test if the packets do not hold the rungs in order.
func (ps Packets) climb(t *testing.T, rungs []rung) {
	t.Helper()
	rest := ps
	gateway := ps[0].First("ip.dst")
	for _, r := range rungs {
		at := slices.IndexFunc(rest, func(p Packet) bool {
			return p.Exchange() == r.exchange && (p.First("ip.src") == gateway) == (r.from == "gateway") &&
				!slices.ContainsFunc(r.notifies, func(name string) bool { return !slices.Contains(p.Notifies(), name) })
		})
		if at < 0 {
			t.Fatalf("%s: no packet of exchange %s from our %s with %v after those found before:\n%s",
				r.text, r.exchange, r.from, r.notifies, ps.Ladder())
		}
		if slices.Equal(r.notifies, shownToken) && rest[at].Encrypted() {
			t.Errorf("%s: packet %d is encrypted, the token is shown in clear", r.text, rest[at].Number)
		}
		rest = rest[at+1:]
	}
}
