package interop

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"blackswan/store"
	"blackswan/store/bolt"
	"blackswan/wire"
)

// A packet of a tunnel that the gateway has lost is answered by rule A8: with
// the token, if its SPI is on the map of before the crash, and our client
// resumes at once; with INVALID_SPI alone, if not, and our client asks and is
// shown the token then. Nothing else tells it: it is deaf to the roll call.
func TestTrafficOfBeforeTheCrash(t *testing.T) {
	for _, c := range []struct {
		name   string
		forget bool // the crash came before the map was on disk
		by     string
		rungs  []rung
	}{
		{"on the map", false, "esp_reply", []rung{
			{"rule C1", "37", "gateway", shownToken},
			{"RFC 6290 8.2", "37", "gateway", []string{"INVALID_SPI (11)", "QUICK_CRASH_DETECTION (16419)"}},
		}},
		{"not on the map", true, "qcd_reply", []rung{
			{"rule C1", "37", "gateway", shownToken},
			{"rule A8", "37", "gateway", []string{"INVALID_SPI (11)"}},
			{"rule A7", "37", "client", nil},
			{"RFC 6290 4.5", "37", "gateway", shownToken},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			there, here := lab.Node(t, "gateway-a8"), lab.Node(t, "client-a8")
			p := usual.carrying()
			p.more = "dpd: 1h\n"
			gateway := there.Gateway(t, p.ourGateway(there), nil)
			capture, before := here.Capture(t), time.Now()
			client := here.Connect(t, p.ourClient(there), nil)
			client.AwaitTunnel(t, ourClientInner)
			here.Ping(t, ourClientInner[0], ourGatewayInner[0])
			gateway.AwaitStored(t, before)
			gateway.Kill()
			here.DeafenToRollCall(t)
			if c.forget {
				forget(t, filepath.Join(gateway.Dir, "state", "store.db"), "children/")
			}
			gateway.Restart(t)
			until(t, "the first round of the roll call", func() bool {
				status, err := gateway.Status(t)
				return err == nil && status.Totals.RollCallShown == 1
			})
			here.Pulse(t, ourClientInner[0], ourGatewayInner[0]) // until it is answered
			if sa := client.AwaitUp(t); !sa.Resumed || sa.By != c.by {
				t.Errorf("our client's SA: %+v, want one that is resumed, by %s", sa, c.by)
			}
			client.Interrupt()
			packets := capture.End(t, client.KeyLog())
			packets.WellFormed(t)
			packets.climb(t, slices.Concat(handshake, c.rungs, resume))
			for _, packet := range packets {
				if names := packet.Notifies(); c.forget && slices.Contains(names, "INVALID_SPI (11)") && len(names) > 1 {
					t.Errorf("packet %d has %v, want INVALID_SPI alone", packet.Number, names)
				}
			}
		})
	}
}

// forget deletes what a table of a store holds.
func forget(t *testing.T, path, table string) {
	t.Helper()
	s, err := bolt.Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var ops []store.Op
	err = s.List(t.Context(), []byte(table), func(e store.Entry) error {
		ops = append(ops, store.Op{Key: bytes.Clone(e.Key)})
		return nil
	})
	if err != nil || len(ops) == 0 {
		t.Fatalf("%s of %s has %d entries: %v", table, path, len(ops), err)
	}
	if err := s.Apply(t.Context(), ops, store.Durable); err != nil {
		t.Fatal(err)
	}
}

// A stranger's ESP packet is answered with INVALID_SPI, which has its SPI and
// is no larger, to the port that it came from; one that is too short is not.
func TestStrangersTraffic(t *testing.T) {
	there, here := lab.Node(t, "gateway-x"), lab.Node(t, "stranger")
	p := usual.carrying()
	there.Gateway(t, p.ourGateway(there), nil)
	conn := here.Dial(t, there.Addr, 4500)
	packet := binary.BigEndian.AppendUint32(nil, 0xb1ac5a00)
	for _, length := range []int{24, 100} { // the first goes without an answer
		if _, err := conn.Write(append(packet, make([]byte, length-4)...)); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 200)
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	message, ok := bytes.CutPrefix(answer[:n], make([]byte, 4)) // RFC 3948 2.2: the non-ESP marker
	if !ok || len(message) > 100 {
		t.Fatalf("the answer is %x", answer[:n])
	}
	h, err := wire.ParseHeader(message)
	if err != nil {
		t.Fatal(err)
	}
	if h.Exchange != wire.ExchangeInformational || h.Flags != wire.FlagInitiator {
		t.Errorf("the answer's header is %+v", h)
	}
	payloads := wire.Walk(h.NextPayload, message[wire.HeaderLen:])
	first, _ := payloads.Next()
	notify, err := wire.ParseNotify(first.Body)
	if err != nil || notify.Type != wire.NotifyInvalidSPI || !bytes.Equal(notify.Data, packet) {
		t.Errorf("the answer says %+v, %v", notify, err)
	}
	if more, ok := payloads.Next(); ok {
		t.Errorf("and %+v", more)
	}
}
