package udptest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/internal/udp"
)

func listenESP(t *testing.T, listen func(udp.Config) (udp.Port, error), addr netip.Addr) udp.Port {
	t.Helper()
	c, err := listen(udp.Config{Addr: addr, ESP: func(m udp.Message) { t.Errorf("%v strayed", m) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTwinsCarryESPAlike(t *testing.T) {
	network := &Network{}
	for name, listen := range map[string]func(udp.Config) (udp.Port, error){
		"sockets": func(cfg udp.Config) (udp.Port, error) { return udp.Listen(cfg) },
		"memory":  func(cfg udp.Config) (udp.Port, error) { return network.Listen(cfg) },
	} {
		t.Run(name, func(t *testing.T) {
			server := listenESP(t, listen, netip.Addr{})
			client := listenESP(t, listen, netip.MustParseAddr("127.0.0.3"))
			exchange(t, server, client)
		})
	}
}

// exchange sends ESP, IKE and keepalives from a Port of one address to one of
// all.
func exchange(t *testing.T, server, client udp.Port) {
	in, out := server.ESP()[0], client.ESP()[0]
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), in.Local().Port())
	if _, nat := server.Ports(); in.Local() != netip.AddrPortFrom(netip.IPv4Unspecified(), nat.Port()) {
		t.Errorf("the port for IPv4 is %v, of %v", in.Local(), nat)
	}
	if err := out.Keepalive(netip.Addr{}, to); err != nil {
		t.Fatal(err)
	}
	send(t, client, udp.Message{Remote: to, Data: []byte("IKE"), Marker: true})
	want := [][]byte{[]byte("\x01\x02\x03\x04first"), []byte("\x01\x02\x03\x04second")}
	if sent, err := out.Send(netip.Addr{}, to, 0, want); sent != 2 || err != nil {
		t.Fatal(err)
	}
	var got []string
	b := udp.NewBurst()
	for len(got) < len(want) {
		if err := in.Receive(b); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Runs {
			if r.Local != to || r.Remote != out.Local() {
				t.Errorf("from %v to %v", r.Remote, r.Local)
			}
			for packet := range slices.Chunk(r.Data, r.Size) {
				got = append(got, string(packet))
			}
		}
	}
	if fmt.Sprintf("%s", want) != fmt.Sprint(got) {
		t.Errorf("%q came, want %q", got, want)
	}
	batch := <-server.Read()
	if m := batch.Messages[0]; string(m.Data) != "IKE" {
		t.Errorf("IKE came as %v", m)
	}
	server.Recycle(batch)
	if s := in.Stats(); s.Keepalives != 1 || s.In != (udp.Count{Datagrams: 2, Octets: 9 + 10}) {
		t.Errorf("in: %+v", s)
	}
	if s := out.Stats(); s.Out != (udp.Count{Datagrams: 3, Octets: 9 + 10 + 1}) {
		t.Errorf("out: %+v", s)
	}
	_, err := out.Send(netip.Addr{}, netip.MustParseAddrPort("[::1]:4500"), 0, want)
	if s := out.Stats(); !errors.Is(err, syscall.ENETUNREACH) || s.Unreachable != 2 {
		t.Errorf("to the other family: %v, %+v", err, s)
	}
	client.Close()
	_, err = out.Send(netip.Addr{}, to, 0, want)
	if s := out.Stats(); !errors.Is(err, net.ErrClosed) || s.Failed != 2 {
		t.Errorf("Send after Close: %v, %+v", err, s)
	}
	if err := errors.Join(in.Close(), in.Close()); err != nil {
		t.Error(err)
	}
	if err := in.Receive(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
}

func TestESPTakesTimeAndRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Network{Delay: 30 * time.Millisecond}
		listen := func(cfg udp.Config) (udp.Port, error) { return n.Listen(cfg) }
		server, client := listenESP(t, listen, gatewayAddr), listenESP(t, listen, clientAddr)
		in, out := server.ESP()[0], client.ESP()[0]
		start := time.Now()
		for range inbox + 5 {
			if _, err := out.Send(netip.Addr{}, in.Local(), 0, [][]byte{[]byte("packet")}); err != nil {
				t.Fatal(err)
			}
		}
		b := udp.NewBurst()
		if in.Receive(b); time.Since(start) != n.Delay {
			t.Errorf("took %v", time.Since(start))
		}
		synctest.Wait()
		if s := in.Stats(); s.In.Datagrams < inbox || s.In.Datagrams+s.Overflow != inbox+5 {
			t.Errorf("%+v", s)
		}
	})
}
