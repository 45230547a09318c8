package udp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"blackswan/internal/natt"
	"blackswan/ticket"
	"blackswan/wire"
)

// ikeMessage has the fields of a header that steering looks at.
func ikeMessage(spii, spir uint64, original bool) []byte {
	b := make([]byte, 28)
	binary.BigEndian.PutUint64(b, spii)
	binary.BigEndian.PutUint64(b[8:], spir)
	b[17] = 0x20
	if original {
		b[offFlags] = 0x08
	}
	return b
}

func TestShardOfOurSPI(t *testing.T) {
	s := newSteering(4)
	const ours = 0x1122334455667700 // its last octet is key id 2 | shard 6
	for _, row := range []struct {
		name string
		m    Message
		want int
	}{
		{"request of a client: SPIr", Message{Data: ikeMessage(0x0101010101010103, ours|0x02, true)}, 2},
		{"key id does not count", Message{Data: ikeMessage(0x0101010101010103, ours|0xc1, true)}, 1},
		{"shard above n", Message{Data: ikeMessage(0x0101010101010103, ours|0x3f, true)}, 3},
		{"request of a gateway: SPIi", Message{Data: ikeMessage(ours|0x02, 0x0101010101010103, false)}, 2},
		{"response to our first request: SPIi", Message{Data: ikeMessage(ours|0x01, 0, false)}, 1},
		{"high half of SPIr is zero", Message{Data: ikeMessage(9, 0x00000000_00000002, true)}, 2},
		{"low half of SPIr is zero", Message{Data: ikeMessage(9, 0x00000001_00000000, true)}, 0},
		{"ESP: the high bits", Message{Kind: ESP, Data: []byte{0x02 << 2, 1, 2, 3, 4}}, 2},
		{"ESP: the high bits, modulo n", Message{Kind: ESP, Data: []byte{0x3f<<2 | 3, 1, 2, 3, 4}}, 3},
		{"keepalive", Message{Kind: Keepalive, Data: []byte{0xff}}, 0},
		{"short", Message{Data: ikeMessage(ours|3, ours|3, true)[:19]}, 0},
		{"short ESP", Message{Kind: ESP, Data: []byte{0xff}}, 0},
	} {
		if got := s.shard(&row.m); got != row.want {
			t.Errorf("%s: shard %d, want %d", row.name, got, row.want)
		}
	}
}

func TestStrangersAreSpread(t *testing.T) {
	s := newSteering(4)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, row := range []struct {
		name string
		spii func(i uint64) uint64
	}{
		{"random", func(uint64) uint64 { return rng.Uint64() }},
		{"counting", func(i uint64) uint64 { return i }},
		{"counting in the high half", func(i uint64) uint64 { return i << 32 }},
	} {
		var count [4]int
		const total = 1 << 16
		for i := range uint64(total) {
			m := Message{Data: ikeMessage(row.spii(i), 0, true)}
			shard := s.shard(&m)
			if again := s.shard(&m); again != shard {
				t.Fatal("a retransmission goes elsewhere")
			}
			count[shard]++
		}
		for shard, n := range count {
			if n < total/8 || n > total/2 {
				t.Errorf("%s: shard %d of 4 has %d of %d", row.name, shard, n, total)
			}
		}
	}
}

// The program runs in an interpreter that is not ours.
func TestProgramIsShard(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 3, 4, 7, 64} {
		s := newSteering(n)
		for _, row := range []struct{ nat, esp bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
			nat := row.nat
			s.esp = row.esp
			vm, err := bpf.NewVM(disassemble(t, s.program(nat)))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 6000 {
				data := randomDatagram(rng)
				if i%2 == 0 {
					data = randomResume(rng, nat)
				}
				m := message(nat, data)
				got, err := vm.Run(data)
				if err != nil {
					t.Fatal(err)
				}
				if nat && m.Kind == IKE && !m.Marker {
					if s.esp && got < n {
						t.Fatalf("n %d: what is nothing, %x, comes to IKE socket %d", n, data, got)
					}
					continue // dropped by add, wherever it comes
				}
				want := s.shard(&m)
				if nat && s.esp && !natt.HasMarker(data) {
					want += n // the sockets for ESP and keepalives
				}
				if got != want {
					t.Fatalf("n %d, %+v: program says %d of %x, shard says %d", n, row, got, data, want)
				}
			}
		}
	}
}

func disassemble(t *testing.T, program []instruction) []bpf.Instruction {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(program))
	for i, in := range program {
		raw[i] = bpf.RawInstruction{Op: in.code, Jt: in.yes, Jf: in.no, K: in.k}
	}
	clear, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("unknown instruction in %v", clear)
	}
	return clear
}

func randomDatagram(rng *rand.Rand) []byte {
	b := make([]byte, rng.IntN(40))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	zero := func(from, to int) {
		if rng.IntN(2) == 0 && to <= len(b) {
			clear(b[from:to])
		}
	}
	zero(0, 4)
	zero(8, 12)
	zero(12, 16)
	zero(16, 20)
	return b
}

// randomResume is an IKE_SESSION_RESUME, most of them well-formed, that may end
// anywhere.
func randomResume(rng *rand.Rand, nat bool) []byte {
	b := resume(rng, uint8(rng.Uint32()), rng.IntN(2) == 0)
	if rng.IntN(3) == 0 {
		b[16+rng.IntN(len(b)-16)] = byte(rng.Uint32())
	}
	if rng.IntN(3) == 0 {
		b = b[:rng.IntN(len(b))]
	}
	if nat {
		b = append(make([]byte, natt.Marker), b...)
	}
	return b
}

// resume shows a ticket of that home, behind a COOKIE or not.
func resume(rng *rand.Rand, home uint8, cookie bool) []byte {
	w := wire.NewWriter(nil, wire.Header{SPIi: wire.SPI(rng.Uint64()), Version: wire.Version, Exchange: wire.ExchangeSessionResume, Flags: wire.FlagInitiator})
	if cookie {
		w.Notify(wire.Notify{Type: wire.NotifyCookie, Data: make([]byte, 1+rng.IntN(64))})
	}
	w.Nonce(make([]byte, 16+rng.IntN(48)))
	made := make([]byte, 256)
	made[0], made[ticket.HomeAt] = 1, home
	w.Notify(wire.Notify{Type: wire.NotifyTicketOpaque, Data: made})
	return w.Finish()
}

// A ticket goes to the shard of its lineage, the low bits of which it shows.
func TestShardOfATicket(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	s := newSteering(4)
	for home := range 256 {
		for _, cookie := range []bool{false, true} {
			if got, want := s.shard(&Message{Data: resume(rng, uint8(home), cookie)}), home&0x3f%4; got != want {
				t.Errorf("home %d, COOKIE %v: shard %d, want %d", home, cookie, got, want)
			}
		}
	}
	b := resume(rng, 2, false)
	b[offExchange] = byte(wire.ExchangeIKESAInit)
	seen := map[int]bool{}
	for range 64 {
		binary.BigEndian.PutUint64(b, rng.Uint64())
		seen[s.shard(&Message{Data: b})] = true
	}
	if len(seen) != 4 {
		t.Errorf("an IKE_SA_INIT goes by a ticket: %v", seen)
	}
}

// message is what a socket would make of a datagram.
func message(nat bool, data []byte) Message {
	c := &Conn{}
	s := &socket{owner: c, count: &c.count, nat: nat}
	b := &Batch{}
	s.add(b, data, netip.Addr{}, netip.AddrPortFrom(loop4, 1), time.Time{})
	if len(b.Messages) == 0 {
		return Message{}
	}
	return b.Messages[0]
}

func TestGroupIsSteered(t *testing.T) {
	for _, addr := range []netip.Addr{loop4, loop6, {}} {
		if lacks(t, addr) {
			continue
		}
		group := mustGroup(t, 4, Config{Addr: addr})
		if !group[0].Steered() {
			if runtime.GOOS == "linux" {
				t.Fatal("the kernel did not take the program")
			}
			t.Skip("no steering on " + runtime.GOOS)
		}
		to := addr
		if !to.IsValid() {
			to = loop4
		}
		ike, nat := group[3].Ports()
		rng := rand.New(rand.NewPCG(5, 6))
		for range 8 { // other source ports, which the kernel would hash
			client := mustListen(t, Config{Addr: to})
			for range 50 {
				m := Message{Remote: netip.AddrPortFrom(to, ike.Port())}
				m.Data = ikeMessage(rng.Uint64(), rng.Uint64()*uint64(rng.IntN(2)), rng.IntN(2) == 0)
				switch rng.IntN(4) {
				case 0:
					m.Marker = true
				case 1:
					m.Data, m.Marker = resume(rng, uint8(rng.Uint32()), rng.IntN(2) == 0), rng.IntN(2) == 0
				case 2:
					m.Kind = ESP
					m.Data[0] |= 1
				}
				if m.nat() {
					m.Remote = netip.AddrPortFrom(to, nat.Port())
				}
				want := group[0].Shard(&m)
				send(t, client, m)
				got := receive(t, group[want], 1)[0]
				if string(got.Data) != string(m.Data) || got.Kind != m.Kind {
					t.Fatalf("%v came, not %v", got, m)
				}
				if group[1].Shard(&got) != want {
					t.Fatal("as received it belongs elsewhere")
				}
			}
		}
	}
}

func mustGroup(t testing.TB, n int, cfg Config) []*Conn {
	t.Helper()
	group, err := Group(n, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range group {
		t.Cleanup(func() { c.Close() })
	}
	return group
}

// mustESP is a group whose ESP is asked for. Nothing may go astray.
func mustESP(t testing.TB, n int, cfg Config) []*Conn {
	t.Helper()
	cfg.ESP = func(m Message) { t.Errorf("an ESP packet of %v strayed", m.Remote) }
	return mustGroup(t, n, cfg)
}

func TestGroupOfOne(t *testing.T) {
	group := mustGroup(t, 1, Config{Addr: loop4})
	m := Message{Data: ikeMessage(1, 2, true)}
	if len(group) != 1 || !group[0].Steered() || group[0].Shard(&m) != 0 {
		t.Error("a group of one has one shard")
	}
}

func TestGroupTakesNoSharedPort(t *testing.T) {
	for _, n := range []int{1, 2} {
		checkNotShared(t, mustGroup(t, n, Config{Addr: loop4})[0])
		checkNotShared(t, mustESP(t, n, Config{Addr: loop4})[0])
	}
	for _, n := range []int{-1, 0, 65} {
		if _, err := Group(n, Config{Addr: loop4}); err == nil {
			t.Errorf("a group of %d", n)
		}
	}
}

func checkNotShared(t *testing.T, other *Conn) {
	ike, nat := other.Ports()
	for _, cfg := range []Config{
		{Addr: loop4, IKEPort: ike.Port()},
		{Addr: loop4, NATPort: nat.Port()},
		{IKEPort: ike.Port()},
		{Addr: loop4, IKEPort: ike.Port(), ESP: func(Message) {}},
		{Addr: loop4, NATPort: nat.Port(), ESP: func(Message) {}},
	} {
		for _, n := range []int{1, 2} {
			if group, err := Group(n, cfg); err == nil {
				t.Errorf("a group of %d shares a port with another", n)
				for _, c := range group {
					c.Close()
				}
			}
		}
	}
}

func TestReuseSharesThePorts(t *testing.T) {
	first := mustListen(t, Config{Addr: loop4, Reuse: true})
	ike, nat := first.Ports()
	cfg := Config{Addr: loop4, IKEPort: ike.Port(), NATPort: nat.Port(), Reuse: true}
	second := mustListen(t, cfg)
	if a, b := second.Ports(); a != ike || b != nat {
		t.Errorf("ports %v and %v, want %v and %v", a, b, ike, nat)
	}
	cfg.ESP = func(Message) {}
	if third := mustListen(t, cfg).ESP(); len(third) != 1 {
		t.Errorf("%d ESP ports on a shared port, want one that sends", len(third))
	} else if _, lent := third[0].(*lent); !lent {
		t.Error("an ESP socket takes what is meant for others who share the port")
	}
	cfg.Reuse = false
	if c, err := Listen(cfg); err == nil {
		c.Close()
		t.Error("a port was shared with who did not want that")
	}
}
