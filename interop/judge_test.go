package interop

import (
	"slices"
	"strings"
	"testing"
)

// tshark is the judge of our packets: a full handshake, the crash, the token
// in clear, the resume. Nothing malformed, every SK opened with our key log,
// and the notifies are those of the RFCs, by name and number.
func TestTsharkJudgesACrash(t *testing.T) {
	gateway, client := lab.Node(t, "gateway-j"), lab.Node(t, "client-j")
	p := usual
	p.top = "roll_call: off\n" // the token has to be asked for
	p.more = "dpd: 1s\n"
	ours := gateway.Gateway(t, p.ourGateway(gateway), nil)
	capture := client.Capture(t)
	peer := client.Connect(t, p.ourClient(gateway), nil)
	ours.AwaitUp(t)
	peer.AwaitUp(t)
	ours.Kill()
	ours.Restart(t)
	until(t, "our client to resume", func() bool {
		status, err := peer.Status(t)
		return err == nil && status.Totals.Resumed == 1
	})
	if sa := ours.AwaitUp(t); !sa.Resumed {
		t.Errorf("our gateway's SA: %+v", sa)
	}
	packets := capture.End(t, peer.KeyLog())
	packets.WellFormed(t)
	packets.Opened(t)
	// What the RFCs want to see, in order: who sends it, in which exchange, with
	// which notifies (others may stand beside them).
	want := []struct {
		what, exchange string
		from           *Node
		notifies       []string
	}{
		{"RFC 7296 1.2", "34", client, []string{"NAT_DETECTION_SOURCE_IP (16388)", "NAT_DETECTION_DESTINATION_IP (16389)",
			"IKEV2_FRAGMENTATION_SUPPORTED (16430)", "SIGNATURE_HASH_ALGORITHMS (16431)"}},
		{"RFC 7296 1.2", "34", gateway, []string{"NAT_DETECTION_SOURCE_IP (16388)", "NAT_DETECTION_DESTINATION_IP (16389)",
			"IKEV2_FRAGMENTATION_SUPPORTED (16430)"}},
		{"RFC 5723 4.1, RFC 6290 4.2", "35", client, []string{"TICKET_REQUEST (16410)", "QUICK_CRASH_DETECTION (16419)"}},
		{"RFC 5723 4.1, RFC 6290 4.2", "35", gateway, []string{"TICKET_LT_OPAQUE (16409)", "QUICK_CRASH_DETECTION (16419)"}},
		{"RFC 7296 2.4", "37", client, nil},
		{"RFC 6290 4.5", "37", gateway, []string{"INVALID_IKE_SPI (4)", "QUICK_CRASH_DETECTION (16419)"}},
		{"RFC 5723 4.3.2", "38", client, []string{"TICKET_OPAQUE (16413)"}},
		{"RFC 5723 4.3.2", "38", gateway, nil},
		{"RFC 5723 4.3.3", "35", client, []string{"TICKET_REQUEST (16410)"}},
		{"RFC 5723 4.3.3", "35", gateway, []string{"TICKET_LT_OPAQUE (16409)"}},
	}
	rest := packets
	for _, w := range want {
		at := slices.IndexFunc(rest, func(packet Packet) bool {
			return packet.Exchange() == w.exchange && packet.First("ip.src") == w.from.Addr.String() &&
				!slices.ContainsFunc(w.notifies, func(name string) bool { return !slices.Contains(packet.Notifies(), name) })
		})
		if at < 0 {
			t.Fatalf("%s: no packet of exchange %s from our %s with %v after those found so far:\n%s",
				w.what, w.exchange, w.from.word, w.notifies, packets.Ladder())
		}
		if w.notifies != nil && strings.Contains(w.notifies[0], "INVALID_IKE_SPI") && rest[at].Encrypted() {
			t.Errorf("packet %d: the token is shown in clear, this one is encrypted", rest[at].Number)
		}
		rest = rest[at+1:]
	}
	if n := len(packets.Exchange("34")); n != 2 {
		t.Errorf("%d packets of IKE_SA_INIT, want the two of the first handshake:\n%s", n, packets.Ladder())
	}
}
