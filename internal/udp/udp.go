// Package udp is the pair of sockets of an IKE endpoint: the IKE port (500)
// and the NAT traversal port (4500), where IKE has a marker of four zero
// octets before it and shares the port with ESP (RFC 7296 2.23, RFC 3948).
//
// Datagrams come in batches from reader goroutines and leave in batches by
// Queue and Flush. Every message tells the local address that it came to, and
// its answer leaves from there. On Linux a batch costs one system call.
//
// ESP, where Config.ESP asks for it, has sockets of its own on the NAT
// traversal port, so that it shares neither goroutine nor buffer with IKE: an
// ESPPort for each family. Bare is the same without UDP.
package udp

import (
	"net/netip"
	"time"
)

// MaxDatagram is the longest datagram that is received, in octets; a longer
// one is dropped and counted. (It is an odd number of cache lines, so that the
// headers of a batch do not share cache sets.)
const MaxDatagram = 163 * 64

// Kind is what a datagram carries.
type Kind uint8

const (
	IKE       Kind = iota // an IKE message
	ESP                   // an ESP packet, by the NAT traversal port only
	Keepalive             // the octet 0xff that keeps a NAT mapping, by the NAT traversal port only
)

// String is the kind as RFC 3948 writes it.
func (k Kind) String() string {
	switch k {
	case IKE:
		return "IKE"
	case ESP:
		return "ESP"
	case Keepalive:
		return "keepalive"
	}
	return "unknown"
}

// Message is one datagram.
type Message struct {
	// Local is our own address and port: where the datagram came to, or where
	// it leaves from. On sending only its address counts, and the zero value
	// leaves the choice to the system.
	Local netip.AddrPort

	// Remote is the address and port of the other side. IPv4 addresses are
	// never in their IPv6-mapped form.
	Remote netip.AddrPort

	// Data is the content, without the marker. In a received message it views
	// its batch.
	Data []byte

	Kind Kind

	// Arrived is when the kernel received it, by the wall clock; zero where
	// the system does not tell. On sending it does not count.
	Arrived time.Time

	// Marker says that an IKE message has the marker before it, which is so
	// on the NAT traversal port and only there. On sending, Marker and Kind
	// choose the port.
	Marker bool
}

// nat tells whether the message travels by the NAT traversal port.
func (m *Message) nat() bool { return m.Marker || m.Kind != IKE }

// Batch is a number of messages that were received together. It belongs to who
// took it from Read until Recycle.
type Batch struct {
	Messages []Message

	slots
}

// Port is what sends and receives: a Conn, or its twin in memory.
type Port interface {
	// Read gives the batches received. It is closed after Close.
	Read() <-chan *Batch

	// Recycle gives a batch back, when nothing views its messages any more.
	Recycle(*Batch)

	// Rest gives the memory of batches that nobody uses to the collector. They
	// are made again when they are needed.
	Rest()

	// Queue puts a copy of a message in line to be sent. Not for concurrent
	// use with itself or Flush.
	Queue(Message)

	// Flush sends what is in line, never waiting. What could not be sent is
	// dropped and counted; the first reason for it since the last Flush is
	// the error.
	Flush() error

	// ESP are the ports for ESP in UDP, one for each family: none unless
	// Config.ESP asks for them.
	ESP() []ESPPort

	// Ports are the addresses that the IKE port and the NAT traversal port
	// are bound to.
	Ports() (ike, nat netip.AddrPort)

	// Stats is what was counted until now.
	Stats() Stats

	// Close ends the readers and closes the sockets.
	Close() error
}

// Config says what to listen on.
type Config struct {
	// Addr is the address to listen on. The zero value and "::" are all
	// addresses of the machine, IPv4 and IPv6 (in sockets of their own);
	// "0.0.0.0" are all IPv4 addresses.
	Addr netip.Addr

	// IKEPort and NATPort are the ports, 500 and 4500 by the RFC. 0 is any
	// free port.
	IKEPort, NATPort uint16

	// Reuse lets other sockets of the same user share the ports
	// (SO_REUSEPORT), as Group does.
	Reuse bool

	// ReceiveBuffer and SendBuffer are the kernel's buffers of each socket,
	// in octets; 0 leaves the system's default. Conn.ReceiveBuffer tells what
	// was achieved.
	ReceiveBuffer, SendBuffer int

	// Mark is the firewall mark of what is sent (Linux), so that rules can
	// tell it from what the tunnel carries; 0: none. It takes CAP_NET_ADMIN.
	Mark uint32

	// Batch is the most datagrams in a batch: 1 to 1024, 0 means 128. With
	// ESP, such as the kernel has joined count as one.
	Batch int

	// Tap sees every message that Read gives and Queue takes, or is nil. It
	// is called by several goroutines and must not keep the message.
	Tap func(out bool, m *Message)

	// ESP asks for ESP ports, if it is not nil, and takes the ESP messages
	// that strayed to an IKE socket: all of them where the kernel does not
	// steer. It is called by several goroutines, must not wait and must not
	// keep the message. Read then gives neither ESP nor keepalives.
	ESP func(Message)

	// Unreachable is told where a datagram went that did not arrive, as a router
	// or its destination says by ICMP; nil: the kernel is not asked. Anyone may
	// forge that. Bare ESP has port 0. It is called by several goroutines and
	// must not wait. Only Linux tells it, on amd64 and arm64.
	Unreachable func(netip.AddrPort)

	// plain does without batches in the kernel, as on systems that have none.
	plain bool

	// single does without runs of ESP packets (UDP_SEGMENT and UDP_GRO), as
	// kernels that have none.
	single bool
}

const (
	batches      = 6   // batches of a Conn that are recycled
	defaultBatch = 128 // datagrams
	maxBatch     = 1024
)

func (cfg *Config) batch() int {
	if cfg.Batch == 0 {
		return defaultBatch
	}
	return min(max(cfg.Batch, 1), maxBatch)
}
