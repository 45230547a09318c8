package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
)

func isErrno(err error, errno syscall.Errno) bool { return errors.Is(err, errno) }

func TestWhatCannotBeSentIsCounted(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		server := mustListen(t, cfg)
		ike, _ := server.Ports()
		all := cfg
		all.Addr = netip.Addr{}
		for _, row := range []struct {
			name  string
			from  Config
			m     Message
			errno syscall.Errno
			count func(Stats) uint64
		}{
			{"no socket of that family", cfg, Message{Remote: netip.MustParseAddrPort("[::1]:500")},
				syscall.ENETUNREACH, func(s Stats) uint64 { return s.Unreachable }},
			{"no address", cfg, Message{}, syscall.ENETUNREACH, func(s Stats) uint64 { return s.Unreachable }},
			{"longer than UDP", cfg, Message{Remote: ike, Data: make([]byte, 1<<16)},
				syscall.EMSGSIZE, func(s Stats) uint64 { return s.TooLong }},
			{"longer than IPv4", cfg, Message{Remote: ike, Data: make([]byte, 1<<16-10)},
				syscall.EMSGSIZE, func(s Stats) uint64 { return s.TooLong }},
			{"local address is not ours", all, Message{Local: netip.MustParseAddrPort("203.0.113.77:500"), Remote: ike},
				0, func(s Stats) uint64 { return s.Unreachable }},
		} {
			client := mustListen(t, row.from)
			if len(row.m.Data) == 0 {
				row.m.Data = []byte("lost")
			}
			client.Queue(Message{Remote: ike, Data: []byte("before")})
			client.Queue(row.m)
			client.Queue(Message{Remote: ike, Data: []byte("behind")})
			if err := client.Flush(); err == nil || row.errno != 0 && !isErrno(err, row.errno) {
				t.Errorf("%s: Flush = %v, want %v", row.name, err, row.errno)
			}
			got := receive(t, server, 2)
			if string(got[0].Data) != "before" || string(got[1].Data) != "behind" {
				t.Errorf("%s: %q and %q arrived", row.name, got[0].Data, got[1].Data)
			}
			s := client.Stats()
			lost := s.Full + s.Refused + s.Unreachable + s.TooLong + s.Failed
			if row.count(s) != 1 || lost != 1 || s.Out.Datagrams != 2 {
				t.Errorf("%s: %+v", row.name, s)
			}
			if err := client.Flush(); err != nil {
				t.Errorf("%s: the next Flush = %v", row.name, err)
			}
		}
	})
}

func TestReasonsOfUnsent(t *testing.T) {
	for errno, of := range map[syscall.Errno]func(Stats) uint64{
		syscall.EAGAIN:        func(s Stats) uint64 { return s.Full },
		syscall.ENOBUFS:       func(s Stats) uint64 { return s.Full },
		syscall.EPERM:         func(s Stats) uint64 { return s.Refused },
		syscall.EACCES:        func(s Stats) uint64 { return s.Refused },
		syscall.EHOSTUNREACH:  func(s Stats) uint64 { return s.Unreachable },
		syscall.ENETDOWN:      func(s Stats) uint64 { return s.Unreachable },
		syscall.EADDRNOTAVAIL: func(s Stats) uint64 { return s.Unreachable },
		syscall.EMSGSIZE:      func(s Stats) uint64 { return s.TooLong },
		syscall.EIO:           func(s Stats) uint64 { return s.Failed },
	} {
		var c counters
		c.unsent(&net.OpError{Op: "write", Err: errno}, 3)
		s := c.stats()
		if of(s) != 3 || s.Full+s.Refused+s.Unreachable+s.TooLong+s.Failed != 3 {
			t.Errorf("%v: %+v", errno, s)
		}
	}
}

func TestCloseEndsAll(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		cfg.Batch = 1
		c := mustListen(t, cfg)
		ike, _ := c.Ports()
		// The readers are made to wait for a batch: none is recycled.
		for range 3 * batches {
			send(t, c, Message{Remote: ike, Data: []byte("x")})
		}
		for range batches {
			next(t, c)
		}
		c.Queue(Message{Remote: ike, Data: []byte("late")})
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for range c.Read() { // ends
		}
		if err := c.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		c.Queue(Message{Remote: ike, Data: []byte("too late")})
		if err := c.Flush(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Flush after Close = %v", err)
		}
		if s := c.Stats(); s.Failed == 0 {
			t.Errorf("%+v", s)
		}
		again := cfg
		again.IKEPort = ike.Port()
		mustListen(t, again) // the port is free again
	})
}

func TestCloseWhileBusy(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		for range 20 {
			c := mustListen(t, cfg)
			ike, _ := c.Ports()
			var busy sync.WaitGroup
			busy.Go(func() {
				for b := range c.Read() {
					c.Recycle(b)
				}
			})
			busy.Go(func() {
				for !errors.Is(c.Flush(), net.ErrClosed) {
					c.Queue(Message{Remote: ike, Data: []byte("x")})
				}
			})
			for c.Stats().In.Datagrams < 10 {
				c.Stats()
			}
			c.Close()
			busy.Wait()
		}
	})
}

func TestEchoAllocatesNothing(t *testing.T) {
	client, server := mustListen(t, Config{Addr: loop4}), mustListen(t, Config{})
	if _, ok := client.sockets[0].link.(*plain); ok {
		t.Skip("promised with batches alone")
	}
	ike, nat := server.Ports()
	to := netip.AddrPortFrom(loop4, ike.Port())
	toNAT := netip.AddrPortFrom(loop4, nat.Port())
	data := make([]byte, 300)
	echo := func() {
		client.Queue(Message{Remote: to, Data: data})
		client.Queue(Message{Remote: toNAT, Data: data, Marker: true})
		client.Flush()
		for _, c := range []*Conn{server, client} {
			for seen := 0; seen < 2; {
				b := <-c.Read()
				seen += len(b.Messages)
				if c == server {
					for _, m := range b.Messages {
						c.Queue(m)
					}
					c.Flush()
				}
				c.Recycle(b)
			}
		}
	}
	for range 50 {
		echo() // until all batches are made
	}
	if n := testing.AllocsPerRun(500, echo); n != 0 {
		t.Errorf("an echo costs %v allocations", n)
	}
}
