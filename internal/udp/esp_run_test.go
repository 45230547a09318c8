//go:build linux && (amd64 || arm64)

package udp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// arrive receives until so many packets are there: a kernel that is busy hands
// on what was sent at once in more than one go.
func arrive(t *testing.T, p ESPPort, packets int) []Run {
	t.Helper()
	var all []Run
	for n := 0; n < packets; {
		b := NewBurst()
		if err := p.Receive(b); err != nil {
			t.Fatal(err)
		}
		if len(b.Runs) > 64 {
			t.Errorf("%d runs in one go, want at most 64", len(b.Runs))
		}
		all = append(all, b.Runs...)
		n += len(packetsOf(b.Runs))
	}
	return all
}

// equal is so many ESP packets of one size.
func equal(count, size int) [][]byte {
	var packets [][]byte
	for seq := range uint32(count) {
		packets = append(packets, espPacket(1, seq, size))
	}
	return packets
}

func mustSend(t testing.TB, p ESPPort, to ESPPort, packets [][]byte) {
	t.Helper()
	if _, err := p.Send(netip.Addr{}, to.Local(), 0, packets); err != nil {
		t.Fatal(err)
	}
}

func TestRunsArriveAsTheyWereSent(t *testing.T) {
	for _, row := range []struct {
		name    string
		packets [][]byte
		runs    string // packets x Size of each
	}{
		{"one", equal(1, 1400), "1x1400"},
		{"equal", equal(40, 1400), "40x1400"},
		{"the last is shorter", append(equal(40, 1400), espPacket(1, 40, 9)), "41x1400"},
		{"more than a message of UDP holds", equal(60, 1400), "46x1400 14x1400"},
		{"more than the kernel splits", equal(130, 100), "64x100 64x100 2x100"},
		{"longer ones behind", append(equal(3, 100), equal(2, 200)...), "3x100 2x200"},
		{"shorter ones behind", append(equal(3, 200), equal(3, 100)...), "4x200 2x100"},
	} {
		runs(t, func(t *testing.T, cfg Config) {
			server, client := mustESP(t, 1, cfg)[0].ESP()[0], mustESP(t, 1, cfg)[0].ESP()[0]
			mustSend(t, client, server, row.packets)
			all := arrive(t, server, len(row.packets))
			var got []string
			for _, r := range all {
				got = append(got, fmt.Sprintf("%dx%d", (len(r.Data)+r.Size-1)/r.Size, r.Size))
			}
			if cfg.single && len(got) != len(row.packets) || !cfg.single && strings.Join(got, " ") != row.runs {
				t.Errorf("%s: runs %v", row.name, got)
			}
			for i, p := range packetsOf(all) {
				if p.data != string(row.packets[i]) {
					t.Fatalf("%s: packet %d was changed", row.name, i)
				}
			}
		})
	}
}

// The kernel joins what comes from one peer, whatever it is: here the sender
// does, so that it happens each time.
func TestRFC3948_2_2_IKEAmongESPIsFound(t *testing.T) {
	ike := append(make([]byte, 4), ikeMessage(1, 2, true)...)
	esp := equal(4, len(ike))
	for _, row := range []struct {
		name              string
		packets           [][]byte
		esp, ike, strayed int
		runs              int
	}{
		{"behind", [][]byte{esp[0], esp[1], ike}, 2, 1, 0, 1},
		{"shorter, behind", append(equal(3, 1400), ike), 3, 1, 0, 1},
		{"between", [][]byte{esp[0], ike, esp[1], esp[2], ike, ike, esp[3]}, 4, 3, 0, 3},
		{"a keepalive behind", [][]byte{esp[0], esp[1], {0xff}}, 2, 0, 0, 1},
		{"nothing known behind", [][]byte{esp[0], esp[1], {1, 2, 3}}, 2, 0, 0, 1},
		{"in front", [][]byte{ike, ike, esp[0], ike, esp[1][:9]}, 0, 3, 2, 0},
	} {
		strays := make(chan string, 10)
		server := mustGroup(t, 1, Config{Addr: loop4, ESP: func(m Message) { strays <- string(m.Data) }})[0]
		client := mustESP(t, 1, Config{Addr: loop4})[0].ESP()[0]
		p := server.ESP()[0]
		mustSend(t, client, p, row.packets)
		var got []string
		if row.esp > 0 {
			all := arrive(t, p, row.esp)
			for _, p := range packetsOf(all) {
				got = append(got, p.data)
			}
			if len(all) != row.runs {
				t.Errorf("%s: %d runs, want %d", row.name, len(all), row.runs)
			}
		}
		for range row.strayed {
			got = append(got, <-strays)
		}
		var want []string
		for _, packet := range row.packets {
			if kind, ok := kindOf(packet); ok && kind == ESP {
				want = append(want, string(packet))
			}
		}
		if !slices.Equal(got, want) || len(want) != row.esp+row.strayed {
			t.Errorf("%s: ESP is %x, want %x", row.name, got, want)
		}
		if row.ike > 0 {
			for _, m := range receive(t, server, row.ike) {
				want := Message{Local: p.Local(), Remote: client.Local(), Data: ike[4:], Marker: true, Arrived: m.Arrived}
				if fmt.Sprint(m) != fmt.Sprint(want) {
					t.Errorf("%s: %v, want %v", row.name, m, want)
				}
			}
		}
	}
}

func TestIKEAmongESPWaitsForNoBatch(t *testing.T) {
	c := &Conn{ // without readers, which hold batches for a moment
		cfg: Config{Batch: 2}, sockets: []*socket{{}},
		read: make(chan *Batch, batches), free: make(chan *Batch, batches), done: make(chan struct{}),
	}
	p := unbound(c)
	ike := append(make([]byte, 4), ikeMessage(1, 2, true)...)
	a := arrival{
		local: loop4, remote: netip.AddrPortFrom(loop4, 9),
		data: slices.Concat(espPacket(1, 1, len(ike)), ike, ike, ike), size: len(ike),
	}
	for range batches {
		p.accept(a)
		c.strayed(p.stray)
		p.stray = nil
	}
	p.accept(a)
	// A batch has room for two of three messages, and then there is none.
	if s := p.Stats(); s.Overflow != batches+3 || c.Stats().In.Datagrams != 2*batches || p.stray != nil {
		t.Errorf("%+v, want %d IKE messages lost", s, batches+3)
	}
}

func TestRunLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3000)
	for range 5000 {
		packets := make([][]byte, 1+rng.IntN(80))
		size := 1 + rng.IntN(3000)
		for i := range packets {
			packets[i] = data[:size]
			if rng.IntN(20) == 0 {
				packets[i] = data[:1+rng.IntN(3000)]
			}
		}
		// The longest that is a run, by the definition.
		want, octets, whole := 1, 0, true // whole: all before are of the first's size
		for i, p := range packets {
			octets += len(p)
			if whole && i < 64 && octets <= 65507 && len(p) <= len(packets[0]) {
				want = i + 1
			}
			whole = whole && len(p) == len(packets[0])
		}
		if got := runLength(packets); got != want {
			t.Fatalf("a run of %d, want %d", got, want)
		}
	}
}

// inNamespace calls f in a network namespace of its own, where only loopback
// is, with this MTU. The namespace ends with its last socket.
func inNamespace(t *testing.T, mtu uint32, f func()) {
	t.Helper()
	var broken error
	var wait sync.WaitGroup
	wait.Go(func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if broken = unix.Unshare(unix.CLONE_NEWNET); broken != nil {
			return
		}
		if broken = raise("lo", mtu); broken != nil {
			return
		}
		f()
	})
	wait.Wait()
	if broken != nil {
		skipWithout(t, broken)
	}
}

// loopbackMTU is what loopback has where nobody changed it.
const loopbackMTU = 1 << 16

// raise sets an interface up.
func raise(name string, mtu uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint32(mtu)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, request); err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// A packet longer than the path's MTU cannot be one of a run, but it can leave
// in fragments.
func TestRunsTooLongForThePathLeaveOneByOne(t *testing.T) {
	inNamespace(t, 1300, func() {
		server, client := mustESP(t, 1, Config{Addr: loop4})[0].ESP()[0], mustESP(t, 1, Config{Addr: loop4})[0].ESP()[0]
		packets := append(append(equal(5, 1200), equal(5, 1400)...), equal(5, 1200)...)
		got := collect(t, server)
		mustSend(t, client, server, packets)
		for i, p := range got.take(t, len(packets)) {
			if p.data != string(packets[i]) {
				t.Fatalf("packet %d was changed", i)
			}
		}
		if s := client.Stats(); s.Out.Datagrams != 15 || s.TooLong != 0 {
			t.Errorf("%+v", s)
		}
		if !client.(*espSocket).out.runs {
			t.Error("runs ended for all peers")
		}
	})
}

func TestWhereNothingSplitsRunsAllLeaveOneByOne(t *testing.T) {
	server, client := mustESP(t, 1, Config{Addr: loop4})[0].ESP()[0], mustESP(t, 1, Config{Addr: loop4})[0].ESP()[0]
	p := client.(*espSocket)
	p.out.packets = equal(3, 100)
	p.out.fill()
	p.unsendable(unix.EIO) // what a route through the kernel's own IPsec says
	if len(p.out.packets) != 3 || p.out.err != nil {
		t.Fatalf("%d packets are left, %v", len(p.out.packets), p.out.err)
	}
	mustSend(t, client, server, equal(3, 100))
	if all := arrive(t, server, 3); len(all) != 3 {
		t.Errorf("%d runs, want 3", len(all))
	}
}

func TestESPThatCannotBeSentIsCounted(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		server := mustESP(t, 1, cfg)[0].ESP()[0]
		cfg.Addr = netip.Addr{}
		for _, row := range []struct {
			name    string
			local   string
			remote  netip.AddrPort
			packets [][]byte
			errno   syscall.Errno
			count   func(Stats) uint64
			out     uint64
		}{
			{"other family", "", netip.MustParseAddrPort("[::1]:4500"), equal(3, 100), syscall.ENETUNREACH,
				func(s Stats) uint64 { return s.Unreachable }, 0},
			{"no address", "", netip.AddrPort{}, equal(3, 100), syscall.ENETUNREACH,
				func(s Stats) uint64 { return s.Unreachable }, 0},
			{"not our address", "203.0.113.77", server.Local(), equal(3, 100), 0,
				func(s Stats) uint64 { return s.Unreachable }, 0},
			{"longer than UDP", "", server.Local(), slices.Concat(equal(2, 100), equal(3, 65508), equal(2, 100)), syscall.EMSGSIZE,
				func(s Stats) uint64 { return s.TooLong }, 4},
		} {
			client := mustESP(t, 1, cfg)[0].ESP()[0]
			var local netip.Addr
			if row.local != "" {
				local = netip.MustParseAddr(row.local)
			}
			sent, err := client.Send(local, row.remote, 0, row.packets)
			if err == nil || sent != int(row.out) || row.errno != 0 && !isErrno(err, row.errno) {
				t.Errorf("%s: Send = %d, %v, want %d, %v", row.name, sent, err, row.out, row.errno)
			}
			s := client.Stats()
			if row.count(s) != 3 || s.Out.Datagrams != row.out || s.Full+s.Refused+s.Failed != 0 {
				t.Errorf("%s: %+v", row.name, s)
			}
			if _, err := client.Send(netip.Addr{}, server.Local(), 0, equal(1, 50)); err != nil {
				t.Errorf("%s: the next Send = %v", row.name, err)
			}
		}
	})
}

func TestESPLeavesFromTheAddressNamed(t *testing.T) {
	runs(t, func(t *testing.T, cfg Config) {
		cfg.Addr = netip.Addr{}
		server, client := mustESP(t, 1, cfg)[0].ESP()[0], mustESP(t, 1, cfg)[0].ESP()[0]
		got := collect(t, server)
		from, to := netip.MustParseAddr("127.0.0.9"), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.8"), server.Local().Port())
		if _, err := client.Send(from, to, 0, equal(9, 700)); err != nil {
			t.Fatal(err)
		}
		for _, p := range got.take(t, 9) {
			if p.local != to || p.remote != netip.AddrPortFrom(from, client.Local().Port()) {
				t.Fatalf("from %v to %v", p.remote, p.local)
			}
		}
	})
}

// unbound is an ESP port without a socket, to try what it makes of arrivals.
func unbound(owner *Conn) *espSocket {
	p := &espSocket{s: &socket{owner: owner}, burst: NewBurst()}
	p.s.count = &p.count
	return p
}

// FuzzRun splits what the kernel has joined, against the plain rule: each piece
// is what it would be alone.
func FuzzRun(f *testing.F) {
	ike := append(make([]byte, 4), ikeMessage(1, 2, true)...)
	f.Add(slices.Concat(espPacket(1, 1, 32), ike, espPacket(1, 2, 32), espPacket(1, 3, 9)), 32)
	f.Add(slices.Concat(espPacket(1, 1, 32), []byte{0xff}), 32)
	f.Add([]byte{0xff, 0xff, 0xff}, 1)
	f.Add(make([]byte, 9), 4)
	owner := &Conn{sockets: []*socket{{}}, free: make(chan *Batch, batches)}
	remote := netip.AddrPortFrom(loop4, 9)
	p := unbound(owner)
	b := p.burst
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if len(data) == 0 || size < 1 {
			return // arrival gives none such
		}
		b.Runs, p.count, p.stray = b.Runs[:0], counters{}, nil
		p.accept(arrival{local: loop4, remote: remote, data: data, size: min(size, len(data))})
		var esp, other []string
		var want Stats
		for piece := range slices.Chunk(data, size) {
			switch kind, ok := kindOf(piece); {
			case !ok:
				want.Malformed++
			case kind == ESP:
				esp = append(esp, string(piece))
				want.In.Datagrams++
				want.In.Octets += uint64(len(piece))
			case kind == Keepalive:
				want.Keepalives++
			case len(other) == defaultBatch:
				want.Overflow++
			case len(piece)-4 > MaxDatagram:
				want.Oversized++
			default:
				other = append(other, string(piece[4:]))
			}
		}
		var got, strays []string
		for _, p := range packetsOf(b.Runs) {
			got = append(got, p.data)
		}
		if p.stray != nil {
			for _, m := range p.stray.Messages {
				strays = append(strays, string(m.Data))
			}
			owner.Recycle(p.stray)
		}
		if !slices.Equal(got, esp) || !slices.Equal(strays, other) || p.Stats() != want {
			t.Errorf("ESP %x, IKE %x, %+v; want ESP %x, IKE %x, %+v", got, strays, p.Stats(), esp, other, want)
		}
	})
}
