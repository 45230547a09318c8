package netstack

import (
	"context"
	"os"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

var _ tun.Device = (*Stack)(nil)

// batch is how many packets a Read gives at most.
const batch = 64

// link is the queue between the stack and who reads. It counts what finds it
// full.
type link struct {
	*channel.Endpoint
	lost atomic.Uint64
}

// WritePackets is called by the stack, from several goroutines.
func (l *link) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	n, err := l.Endpoint.WritePackets(packets)
	l.lost.Add(uint64(packets.Len() - n))
	return n, err
}

// Read takes packets that the stack sends, as many as are there and as bufs
// has room for; it waits for the first. A packet longer than its buffer is
// lost. After Close it is os.ErrClosed.
func (s *Stack) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n := 0
	for n < len(bufs) {
		var p *stack.PacketBuffer
		if n == 0 {
			p = s.link.ReadContext(context.Background())
		} else {
			p = s.link.Read()
		}
		if p == nil {
			break
		}
		if room := bufs[n][offset:]; p.Size() <= len(room) {
			sizes[n] = 0
			for _, part := range p.AsSlices() {
				sizes[n] += copy(room[sizes[n]:], part)
			}
			n++
		}
		p.DecRef()
	}
	if n == 0 {
		return 0, os.ErrClosed // the queue is never nil before
	}
	return n, nil
}

// Write gives the stack packets, which it copies. What is no IP packet is
// skipped: others of the batch have no part in that.
func (s *Stack) Write(bufs [][]byte, offset int) (int, error) {
	if !s.link.IsAttached() {
		return 0, os.ErrClosed
	}
	for _, buf := range bufs {
		packet := buf[offset:]
		if len(packet) == 0 {
			continue
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
		switch packet[0] >> 4 {
		case header.IPv4Version:
			s.link.InjectInbound(header.IPv4ProtocolNumber, p)
		case header.IPv6Version:
			s.link.InjectInbound(header.IPv6ProtocolNumber, p)
		}
		p.DecRef()
	}
	return len(bufs), nil
}

// Lost counts packets that the stack could not send because nobody read.
func (s *Stack) Lost() uint64 { return s.link.lost.Load() }

// MTU is what Open was given.
func (s *Stack) MTU() (int, error) { return s.mtu, nil }

// BatchSize is how many packets a Read gives at most.
func (s *Stack) BatchSize() int { return batch }

// Events tells that the device is up, and is closed with it.
func (s *Stack) Events() <-chan tun.Event { return s.events }

// Name is the same for every Stack: the machine knows none of them.
func (s *Stack) Name() (string, error) { return "netstack", nil }

// File is nil: there is none.
func (s *Stack) File() *os.File { return nil }
