package tunnel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
	"blackswan/esp"
	"blackswan/internal/udp"
)

// A Child SA is told to be used with its first packet, and again while packets
// come, not more often than dataplane.UsedAgain (rule D7).
func TestUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gateway := pair(t, Config{})
		p := newPeer(t)
		packet := func() []byte { return p.seal(udp4(a4, b4, 1, 2, 3), 4) }
		gateway.from(clientUDP, packet(), packet())
		want := dataplane.Report{Kind: dataplane.Used, SPI: spi ^ 0xffff, Local: gateway.udp.local, Remote: netip.MustParseAddrPort(clientUDP), Encap: true}
		if got := gateway.seen(); len(got) != 1 || got[0] != want {
			t.Errorf("the first packets: %+v, want %+v", got, want)
		}
		time.Sleep(dataplane.UsedAgain - time.Millisecond)
		gateway.from(clientUDP, packet())
		if got := gateway.kinds(); got != "" {
			t.Errorf("too soon: %q", got)
		}
		time.Sleep(time.Millisecond)
		gateway.from(clientUDP, packet(), packet())
		if got := gateway.kinds(); got != "used" {
			t.Errorf("again: %q", got)
		}
	})
}

// Packets that leave while none comes in are told, not more often than
// dataplane.UsedAgain: liveness on demand lives on it.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gateway := pair(t, Config{})
		p := newPeer(t)
		out := func() string {
			gateway.inside(udp4(b4, a4, 2, 1, 3))
			return gateway.kinds()
		}
		if got := out(); got != "" {
			t.Errorf("just installed: %q", got)
		}
		time.Sleep(dataplane.UsedAgain)
		if got := out() + " " + out(); got != "unanswered " {
			t.Errorf("nothing came in: %q", got)
		}
		time.Sleep(dataplane.UsedAgain)
		gateway.from(clientUDP, p.seal(udp4(a4, b4, 1, 2, 3), 4))
		gateway.kinds()
		if got := out(); got != "" {
			t.Errorf("the peer was just heard: %q", got)
		}
		time.Sleep(time.Minute)
		if got := gateway.kinds(); got != "" {
			t.Errorf("nothing leaves: %q", got)
		}
	})
}

// RFC 7296 2.8: who answered a rekey sends by the old Child SA until its peer
// has used the new one, or has deleted the old.
func TestWaits(t *testing.T) {
	for _, how := range []string{"used", "preferred", "removed"} {
		synctest.Test(t, func(t *testing.T) {
			_, gateway := pair(t, Config{})
			next := mirror(planetest.Child(spi + 1))
			next.Waits = true
			gateway.install(next)
			by := func() uint32 {
				gateway.inside(udp4(b4, a4, 2, 1, 3))
				spi, _, _ := esp.ParseSPI(gateway.packet())
				return spi
			}
			if got := by(); got != spi {
				t.Errorf("%s: it sends by %08x at once", how, got)
			}
			switch how {
			case "used":
				out, err := esp.NewOut(next.SPIIn, esp.AESGCM16, next.EncrIn, nil, false)
				if err != nil {
					t.Fatal(err)
				}
				buf := append(make([]byte, 64), udp4(a4, b4, 1, 2, 3)...)
				packet, err := out.Seal(append(buf, make([]byte, 64)...), 64, len(buf)-64, 4)
				if err != nil {
					t.Fatal(err)
				}
				gateway.from(clientUDP, packet)
			case "preferred":
				if err := gateway.Prefer(next.SPIIn); err != nil {
					t.Fatal(err)
				}
			case "removed":
				if err := gateway.Remove(spi ^ 0xffff); err != nil {
					t.Fatal(err)
				}
			}
			if got := by(); got != spi+1 {
				t.Errorf("%s: it still sends by %08x", how, got)
			}
			if err := gateway.Prefer(spi ^ 0xffff); (err == nil) != (how != "removed") {
				t.Fatal(err)
			} else if got := by(); err == nil && got != spi {
				t.Errorf("%s: the older one is preferred, and it sends by %08x", how, got)
			}
		})
	}
}

// Rule G3: only a new authenticated packet from elsewhere moves the peer, at
// most once a second, and only the machine changes where we send.
func TestMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gateway := pair(t, Config{})
		p := newPeer(t)
		packet := func() []byte { return p.seal(udp4(a4, b4, 1, 2, 3), 4) }
		const elsewhere = "203.0.113.9:1024"
		late, first := packet(), packet()
		gateway.from(clientUDP, first)
		gateway.seen()

		forged := packet()
		forged[len(forged)-1] ^= 1
		gateway.from(elsewhere, forged)
		gateway.from(elsewhere, first) // replayed from elsewhere
		gateway.from(elsewhere, late)  // new to us, but older than what came
		if got := gateway.kinds(); got != "" {
			t.Errorf("forged, replayed and late packets: %q", got)
		}

		gateway.from(elsewhere, packet(), packet())
		want := dataplane.Report{Kind: dataplane.Moved, SPI: spi ^ 0xffff, Local: gateway.udp.local, Remote: netip.MustParseAddrPort(elsewhere), Encap: true}
		if got := gateway.seen(); len(got) != 1 || got[0] != want {
			t.Errorf("new packets: %+v, want %+v", got, want)
		}
		gateway.inside(udp4(b4, a4, 2, 1, 3))
		if s := gateway.sent(); len(s) != 1 || s[0].remote.String() != clientUDP {
			t.Errorf("we send elsewhere without Move: %+v", s)
		}
		gateway.from("203.0.113.10:1024", packet())
		if got := gateway.kinds(); got != "" {
			t.Errorf("within a second: %q", got)
		}
		time.Sleep(time.Second)
		gateway.from("203.0.113.10:1024", packet())
		if got := gateway.kinds(); got != "moved" {
			t.Errorf("after a second: %q", got)
		}

		time.Sleep(time.Second)
		if err := gateway.Move(spi^0xffff, dataplane.Path{Local: gateway.udp.local, Remote: netip.MustParseAddrPort(elsewhere), Encap: true}); err != nil {
			t.Fatal(err)
		}
		gateway.from(elsewhere, packet())
		if got := gateway.kinds(); got != "" {
			t.Errorf("from where the machine moved it: %q", got)
		}
		// RFC 7296 2.23: bare ESP and ESP in UDP may come whatever we send.
		gateway.bare.in <- []udp.Run{{Local: gateway.bare.local, Remote: netip.MustParseAddrPort("203.0.113.9:0"), Data: packet(), Size: 100}}
		if got := gateway.kinds(); got != "" {
			t.Errorf("bare from the same address: %q", got)
		}
	})
}

// Rule A8: an unknown SPI is told with what an answer needs; a flood is not
// told in full, and takes no place from other reports.
func TestUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := pair(t, Config{})
		flood := func(n int) {
			var run [][]byte
			for i := range n {
				run = append(run, binary.BigEndian.AppendUint32(nil, 0x5000+uint32(i)), make([]byte, 60))
			}
			data := bytes.Join(run, nil)
			gateway.receive(udp.Run{Local: gateway.udp.local, Remote: client.udp.local, Data: data, Size: 64})
		}
		flood(1)
		want := dataplane.Report{Kind: dataplane.Unknown, SPI: 0x5000, Local: gateway.udp.local, Remote: client.udp.local, Encap: true, Length: 64}
		if got := gateway.seen(); len(got) != 1 || got[0] != want {
			t.Errorf("reported %+v, want %+v", got, want)
		}
		time.Sleep(time.Second)
		for range 10 {
			flood(500)
		}
		gateway.from(clientUDP, newPeer(t).seal(udp4(a4, b4, 1, 2, 3), 4))
		got := gateway.seen()
		if len(got) != mostUnknown+1 || got[mostUnknown].Kind != dataplane.Used {
			t.Errorf("%d reports, want %d of unknown SPIs and one of use", len(got), mostUnknown)
		}
		if n := gateway.dropped()["unknown_spi"]; n != 5001 {
			t.Errorf("%d counted, want all 5001", n)
		}
		time.Sleep(time.Second)
		flood(1)
		if got := gateway.kinds(); got != "unknown" {
			t.Errorf("a second later: %q", got)
		}
	})
}

func TestVolume(t *testing.T) {
	packet := udp4(a4, b4, 1, 2, 72) // 100 octets
	for name, row := range map[string]struct {
		soft, hard dataplane.Volume
		worn       int // told with this packet
		most       int // packets that are carried
	}{
		"packets":  {dataplane.Volume{Packets: 3}, dataplane.Volume{Packets: 5}, 3, 5},
		"octets":   {dataplane.Volume{Octets: 300}, dataplane.Volume{Octets: 450}, 3, 5},
		"no bound": {dataplane.Volume{}, dataplane.Volume{}, 99, 99},
		"one each": {dataplane.Volume{Packets: 4, Octets: 100}, dataplane.Volume{Packets: 100, Octets: 200}, 1, 2},
	} {
		for _, direction := range []string{"out", "in", "both"} {
			t.Run(name+" "+direction, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := planetest.Child(spi)
					c.Soft, c.Hard = row.soft, row.hard
					client, gateway := newEnd(t, Config{}, clientAt), newEnd(t, Config{}, gatewayAt)
					client.install(c)
					bare := mirror(planetest.Child(spi))
					gateway.install(bare)
					carried := 0
					for n := 1; n <= 8; n++ {
						out := direction == "out" || direction == "both" && n%2 == 0
						if out {
							client.inside(packet)
							carried += len(client.sent())
						} else {
							gateway.inside(udp4(b4, a4, 2, 1, 72))
							client.from(gatewayUDP, gateway.packet())
							carried += len(client.took())
						}
						var want []string
						if n == row.worn {
							want = append(want, "worn")
						}
						if n == row.most {
							want = append(want, "spent")
						}
						got := strings.TrimSpace(strings.ReplaceAll(client.kinds(), "used", ""))
						if got != strings.Join(want, " ") {
							t.Errorf("packet %d: reported %q, want %q", n, got, want)
						}
						if carried != min(n, row.most) {
							t.Errorf("packet %d: %d were carried", n, carried)
						}
					}
					if n := client.dropped()["spent"]; n != uint64(max(0, 8-row.most)) {
						t.Errorf("%d dropped", n)
					}
				})
			})
		}
	}
}

// Without ESN a Child SA is worn with 15 of 16 sequence numbers used, and spent
// with the last (RFC 4303 3.3.3).
func TestSequenceNumbersEnd(t *testing.T) {
	for _, esn := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			client := newEnd(t, Config{}, clientAt)
			client.install(keyed(0, esn))
			packet := udp4(a4, b4, 1, 2, 3)
			for _, row := range []struct {
				used  uint64
				kinds string
				sent  int
			}{
				{1<<32 - 1<<28 - 2, "", 1}, {1<<32 - 1<<28 - 1, "worn", 1}, {1<<32 - 2, "", 1}, {1<<32 - 1, "spent", 0},
			} {
				setSequence(client.child0().out.sa, row.used)
				client.inside(packet)
				want, most := row.kinds, row.sent
				if esn {
					want, most = "", 1
				}
				if got, sent := client.kinds(), len(client.sent()); got != want || sent != most {
					t.Errorf("esn %v, %d used: reported %q and sent %d, want %q and %d", esn, row.used, got, sent, want, most)
				}
			}
		})
	}
}

// setSequence makes an SA old: 2^32 packets take too long.
func setSequence(out *esp.Out, used uint64) {
	field := reflect.ValueOf(out).Elem().FieldByName("sequence")
	*(*uint64)(field.Addr().UnsafePointer()) = used
}

// The bound holds within one batch.
func TestHardVolumeInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := planetest.Child(spi)
		c.Hard = dataplane.Volume{Packets: 10}
		client, gateway := newEnd(t, Config{}, clientAt), newEnd(t, Config{}, gatewayAt)
		client.install(c)
		gateway.install(mirror(c))
		batch := make([][]byte, 64)
		for i := range batch {
			batch[i] = udp4(a4, b4, 1, 2, 50)
		}
		client.inside(batch...)
		if s := client.sent(); len(s) != 1 || len(s[0].packets) != 10 {
			t.Errorf("%d packets were sent, want 10", len(s[0].packets))
		}
		p := newPeer(t)
		for i := range batch {
			batch[i] = p.seal(udp4(a4, b4, 1, 2, 50), 4)
		}
		gateway.from(clientUDP, batch...)
		if n := len(gateway.took()); n != 10 {
			t.Errorf("%d packets came out, want 10", n)
		}
	})
}

// Reports that found no room are lost; those that are told once are told later.
func TestFullReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := planetest.Child(spi)
		c.Soft = dataplane.Volume{Packets: 1}
		client := newEnd(t, Config{}, clientAt)
		client.install(c)
		for client.report(dataplane.Report{Kind: dataplane.Used}) {
		}
		client.inside(udp4(a4, b4, 1, 2, 3))
		client.device.fail <- errors.New("x")
		client.device.Close()
		synctest.Wait()
		got := client.seen()
		if n := len(got); n != mostReports+1 || got[n-1].Kind != dataplane.Broken {
			t.Errorf("%d reports, the last %+v; want %d and Broken", n, got[n-1], mostReports)
		}
		client.sender.mu.Lock()
		client.send(client.sender.bufs[:1], []int{copy(client.sender.bufs[0][headroom:], udp4(a4, b4, 1, 2, 3))})
		client.sender.mu.Unlock()
		if got := client.kinds(); got != "worn" {
			t.Errorf("with the next packet: %q, want worn", got)
		}
	})
}

func TestBroken(t *testing.T) {
	for name, row := range map[string]struct {
		lose func(e *end)
		word string // of the error
	}{
		"device deleted":     {func(e *end) { e.device.Close() }, "the TUN device memory is gone"},
		"port closed":        {func(e *end) { e.udp.Close() }, "the socket for ESP on 192.0.2.1:4500 was closed"},
		"both":               {func(e *end) { e.udp.Close(); e.bare.Close() }, "was closed"},
		"device takes none":  {func(e *end) { e.device.refuse = true; e.from(gatewayUDP, reply(t)) }, "gone"},
		"device gives noise": {func(e *end) { noise(e, mostBad) }, "gives no packets any more: noise"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, _ := pair(t, Config{})
				noise(client, mostBad-1) // a few bad packets are no loss
				client.inside(udp4(a4, b4, 1, 2, 3))
				if n := client.dropped()["unreadable"]; n != mostBad-1 {
					t.Errorf("%d unreadable packets, want %d", n, mostBad-1)
				}
				if s := client.sent(); len(s) != 1 {
					t.Fatal("the device is taken for lost too soon")
				}
				row.lose(client)
				synctest.Wait()
				var broken []dataplane.Report
				for _, r := range client.seen() {
					if r.Kind == dataplane.Broken {
						broken = append(broken, r)
					}
				}
				if len(broken) != 1 || !strings.Contains(broken[0].Err.Error(), row.word) {
					t.Errorf("reported %+v, want one with %q", broken, row.word)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		client, _ := pair(t, Config{})
		client.Close()
		if got := client.kinds(); got != "" {
			t.Errorf("Close itself: %q", got)
		}
	})
}

// noise is so many packets that the device cannot give.
func noise(e *end, n int) {
	for range n {
		e.device.fail <- errors.New("noise")
		synctest.Wait()
	}
}

// reply is a packet of the gateway for the client of a pair.
func reply(t *testing.T) []byte {
	p := newPeer(t)
	c := mirror(planetest.Child(spi))
	p.out = outOf(t, c)
	return p.seal(udp4(b4, a4, 2, 1, 3), 4)
}
