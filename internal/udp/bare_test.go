//go:build linux && (amd64 || arm64)

package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mustBare is a port that hears all ESP of its address, whoever else on the
// machine tests with it: a test that counts has a namespace of its own.
func mustBare(t testing.TB, addr string) ESPPort {
	t.Helper()
	p, err := Bare(netip.MustParseAddr(addr), 0, nil)
	if err != nil {
		skipWithout(t, err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// skipWithout ends a test that lacks a privilege. In CI nothing is left out.
func skipWithout(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, syscall.EPERM) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	t.Fatal(err)
}

func TestRFC4303_2_BareESP(t *testing.T) { inNamespace(t, loopbackMTU, func() { checkBare(t) }) }

func checkBare(t *testing.T) {
	for _, row := range []struct{ name, server, client, to, from string }{
		{"IPv4", "127.0.0.2", "127.0.0.1", "127.0.0.2", "127.0.0.1"},
		{"all IPv4", "0.0.0.0", "0.0.0.0", "127.0.0.2", "127.0.0.3"},
		{"IPv6", "::1", "::1", "::1", "::1"},
		{"all IPv6", "::", "::", "::1", "::1"},
	} {
		to, from := netip.MustParseAddr(row.to), netip.MustParseAddr(row.from)
		if lacks(t, to) {
			continue
		}
		server, client := mustBare(t, row.server), mustBare(t, row.client)
		got := collect(t, server)
		if server == client || server.Local() != netip.AddrPortFrom(netip.MustParseAddr(row.server), 0) {
			t.Errorf("%s: bound to %v", row.name, server.Local())
		}
		var packets [][]byte
		var want []packet
		for seq := range uint32(20) {
			packets = append(packets, espPacket(77, seq, 9+100*int(seq)))
			want = append(want, packet{netip.AddrPortFrom(to, 0), netip.AddrPortFrom(from, 0), string(packets[seq])})
		}
		bad := [][]byte{make([]byte, 20), {1, 2, 3, 4}, {}} // no SPI is zero; too short
		if _, err := client.Send(from, netip.AddrPortFrom(to, 4500), 0, append(bad, packets...)); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		for i, p := range got.take(t, len(want)) {
			if p != want[i] {
				t.Fatalf("%s: %v came, not %v", row.name, p, want[i])
			}
		}
		if s := server.Stats(); s.Malformed != 3 || s.In.Datagrams != 20 {
			t.Errorf("%s: %+v", row.name, s)
		}
		if err := client.Keepalive(from, netip.AddrPortFrom(to, 4500)); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: a keepalive: %v", row.name, err)
		}
		server.Close()
		client.Close()
	}
}

func TestBareFragmentsAreWholeOrNothing(t *testing.T) {
	inNamespace(t, loopbackMTU, func() { checkBareFragments(t) })
}

func checkBareFragments(t *testing.T) {
	server, client := mustBare(t, "127.0.0.2"), mustBare(t, "127.0.0.1")
	got := collect(t, server)
	long := espPacket(5, 5, MaxDatagram+1)
	if _, err := client.Send(netip.Addr{}, server.Local(), 0, [][]byte{long, espPacket(5, 6, MaxDatagram-20)}); err != nil {
		t.Fatal(err)
	}
	if p := got.take(t, 1)[0]; p.data != string(espPacket(5, 6, MaxDatagram-20)) {
		t.Error("a long packet was changed")
	}
	if s := server.Stats(); s.Oversized != 1 {
		t.Errorf("%+v, want 1 oversized", s)
	}
}

// A mark keeps what leaves out of our own tunnel, bare ESP like UDP.
func TestAllThatLeavesIsMarked(t *testing.T) {
	const mark = 0x4500
	bare, err := Bare(loop4, mark, nil)
	if err != nil {
		skipWithout(t, err)
	}
	t.Cleanup(func() { bare.Close() })
	c := mustListen(t, Config{Addr: loop4, Mark: mark, ESP: func(Message) {}})
	sockets := append([]*socket{bare.(*espSocket).s}, c.sockets...)
	for _, port := range c.ESP() {
		if own, is := port.(*espSocket); is {
			sockets = append(sockets, own.s)
		}
	}
	for _, s := range sockets {
		s.rc.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); got != mark {
				t.Errorf("%v marks with %#x, %v", s.local, got, err)
			}
		})
	}
}

func TestBareErrorsNameTheCure(t *testing.T) {
	for _, row := range []struct {
		name  string
		err   error
		errno syscall.Errno
		words []string
	}{
		{"no privilege", &net.OpError{Op: "listen", Err: os.NewSyscallError("socket", syscall.EPERM)}, syscall.EPERM,
			[]string{"IP protocol 50", "192.0.2.1", "not permitted", "CAP_NET_RAW", "let ESP travel in UDP"}},
		{"not ours", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)}, syscall.EADDRNOTAVAIL,
			[]string{"192.0.2.1", "no interface of this machine"}},
	} {
		checkError(t, row.name, bareError(netip.MustParseAddr("192.0.2.1"), row.err), row.errno, row.words)
	}
	if _, err := Bare(netip.Addr{}, 0, nil); err == nil || !strings.Contains(err.Error(), "0.0.0.0 or ::") {
		t.Errorf("no address: %v", err)
	}
}

// ipv4Packet is a header without options and content behind it.
func ipv4Packet(content string) []byte {
	return append([]byte{0x45, 0, 0, byte(20 + len(content)), 0, 0, 0x40, 0, 64, espProtocol, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1}, content...)
}

func TestRFC791_3_1_WhatIsBehindTheHeader(t *testing.T) {
	set := func(at int, to byte) []byte {
		b := ipv4Packet("content")
		b[at] = to
		return b
	}
	for _, row := range []struct {
		name   string
		packet []byte
		want   string // "" is refused
	}{
		{"plain", ipv4Packet("content"), "content"},
		{"padded by the link", append(ipv4Packet("content"), 0, 0, 0), "content"},
		{"with options", set(0, 0x46), "ent"},
		{"no content", ipv4Packet(""), ""},
		{"cut", ipv4Packet("content")[:26], ""},
		{"cut header", ipv4Packet("content")[:19], ""},
		{"empty", nil, ""},
		{"version 6", set(0, 0x65), ""},
		{"header of 16 octets", set(0, 0x44), ""},
		{"header longer than the packet", set(0, 0x4f), ""},
		{"total less than the header", set(3, 19), ""},
		{"first fragment", set(6, 0x20), ""},
		{"later fragment", set(7, 1), ""},
		{"other protocol", set(9, 51), ""},
	} {
		got, _ := afterIPv4(row.packet)
		if string(got) != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func FuzzAfterIPv4(f *testing.F) {
	f.Add(ipv4Packet("content"))
	f.Fuzz(func(t *testing.T, b []byte) {
		content, ok := afterIPv4(b)
		if ok != (len(content) > 0) || len(content) > max(len(b)-20, 0) {
			t.Errorf("%x behind the header of %x, %v", content, b, ok)
		}
	})
}
