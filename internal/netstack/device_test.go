package netstack

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/tun"
)

func TestOpenRefuses(t *testing.T) {
	for _, row := range []struct {
		name           string
		addresses, dns []netip.Addr
		mtu            int
	}{
		{"MTU too short", addrs(here4), nil, 575},
		{"MTU too long", addrs(here4), nil, 65536},
		{"IPv6 needs 1280 octets", addrs(here6), nil, 1279},
		{"no address", []netip.Addr{{}}, nil, 1400},
		{"IPv4 in IPv6", addrs("::ffff:10.0.0.1"), nil, 1400},
		{"zone", addrs("fe80::1%eth0"), nil, 1400},
		{"DNS server without address", addrs(here4), []netip.Addr{{}}, 1400},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := Open(row.addresses, row.dns, row.mtu)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			t.Log(err)
		})
	}
}

// TestClose holds Close against all that may wait for the stack.
func TestClose(t *testing.T) {
	here, there := pair(t)
	l := listen(t, there, there4+":80") // accepts and reads nothing
	defer l.Close()
	writes, err := here.Dial(within(t), "tcp", there4+":80")
	if err != nil {
		t.Fatal(err)
	}
	reads, err := here.Dial(within(t), "tcp", there4+":80")
	if err != nil {
		t.Fatal(err)
	}
	datagrams, err := here.Dial(within(t), "udp", there4+":9")
	if err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	for _, wait := range []func() error{
		func() error { _, err := reads.Read(make([]byte, 1)); return err },
		func() error { _, err := datagrams.Read(make([]byte, 1)); return err },
		func() error { return fill(writes) },
		func() error { _, err := here.Dial(within(t), "tcp", "10.99.0.77:80"); return err },
	} {
		waiting.Go(func() {
			if err := wait(); err == nil || timedOut(err) {
				t.Errorf("ended with %v", err)
			}
		})
	}
	if err := here.Close(); err != nil {
		t.Error(err)
	}
	if err := here.Close(); err != nil {
		t.Errorf("the second time: %v", err)
	}
	waiting.Wait()
	closed(t, here)
}

// fill writes until that fails.
func fill(c net.Conn) error {
	for {
		if _, err := c.Write(make([]byte, 1<<16)); err != nil {
			return err
		}
	}
}

func closed(t *testing.T, s *Stack) {
	t.Helper()
	if n, err := s.Read([][]byte{make([]byte, 2000)}, make([]int, 1), 0); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read: %d, %v", n, err)
	}
	if n, err := s.Write([][]byte{{0x45, 0, 0, 20}}, 0); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write: %d, %v", n, err)
	}
	for _, network := range []string{"tcp", "udp"} {
		if _, err := s.Dial(t.Context(), network, there4+":80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dial: %v", err)
		}
	}
	if err := s.Assign(addrs(here4), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Assign: %v", err)
	}
	if ev, more := <-s.Events(); !more || ev != tun.EventUp {
		t.Errorf("the first event: %v, %v", ev, more)
	}
	if _, more := <-s.Events(); more {
		t.Error("events after EventUp")
	}
}

// TestCloseUnread closes a stack that sends while nobody reads.
func TestCloseUnread(t *testing.T) {
	s := open(t, addrs(here4), nil)
	c, err := s.Dial(t.Context(), "udp", there4+":9")
	if err != nil {
		t.Fatal(err)
	}
	const sent = queue + 10
	for range sent {
		_, _ = c.Write([]byte("x"))
	}
	if got := s.Lost(); got != sent-queue {
		t.Errorf("%d packets are lost, not %d", got, sent-queue)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestConnClose ends a Write that waits for room.
func TestConnClose(t *testing.T) {
	here, there := pair(t)
	l := listen(t, there, there4+":80") // accepts and reads nothing
	defer l.Close()
	c, err := here.Dial(within(t), "tcp", there4+":80")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if err := fill(c); !timedOut(err) {
		t.Fatal(err)
	}
	_ = c.SetWriteDeadline(time.Time{})
	const writers = 20 // some of them wait when all have begun
	var begun, writing sync.WaitGroup
	begun.Add(writers)
	for range writers {
		writing.Go(func() {
			begun.Done()
			if fill(c) == nil {
				t.Error("wrote forever")
			}
		})
	}
	begun.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	writing.Wait()
}

// TestDevice is what a data plane may count on.
func TestDevice(t *testing.T) {
	s := open(t, addrs(here4), nil)
	if mtu, err := s.MTU(); mtu != 1400 || err != nil {
		t.Errorf("MTU %d, %v", mtu, err)
	}
	if s.BatchSize() < 1 || s.File() != nil {
		t.Errorf("batch %d, file %v", s.BatchSize(), s.File())
	}
	c, err := s.Dial(t.Context(), "udp", there4+":9")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Write([]byte("12345678")); err != nil {
			t.Fatal(err)
		}
	}
	// A batch at once; the buffer of the first packet is too short for it.
	const offset, length = 5, 20 + 8 + 8
	bufs, sizes := [][]byte{make([]byte, offset+length-1), make([]byte, 100)}, make([]int, 2)
	bufs[0], bufs[1] = bufs[1], bufs[0]
	n, err := s.Read(bufs, sizes, offset)
	if n != 1 || err != nil || sizes[0] != length || bufs[0][offset] != 0x45 {
		t.Errorf("%d packets of %v octets, %v", n, sizes, err)
	}
	packet := bytes.Clone(bufs[0][:offset+length])
	for _, write := range [][][]byte{{packet}, {{}}, {make([]byte, offset)}, {append(make([]byte, offset), 0x10)}, nil} {
		offset := min(offset, len(append(write, nil)[0]))
		if n, err := s.Write(write, offset); n != len(write) || err != nil {
			t.Errorf("%x: %d, %v", write, n, err)
		}
	}
}
