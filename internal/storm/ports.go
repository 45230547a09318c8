package storm

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"blackswan/internal/natt"
	"blackswan/internal/udp"
)

// sockets are what the clients of a crowd send and receive by.
type sockets interface {
	Read() <-chan *udp.Batch
	Recycle(*udp.Batch)
	Queue(udp.Message)
	Flush() error
	Close() error

	// of tells where a client sends from to the gateway's IKE port, and by
	// which port of its own to that of UDP encapsulation.
	of(client int) (ike netip.AddrPort, nat uint16)
}

// shared are two sockets for all clients of a crowd: they differ in their
// addresses, or a common one is all they have.
type shared struct {
	udp.Port
	from addresses
}

func (s shared) of(client int) (netip.AddrPort, uint16) {
	ike, nat := s.Ports()
	return netip.AddrPortFrom(s.from.of(client), ike.Port()), nat.Port()
}

// ports are a socket for each client, which serves for both ports of the
// gateway: to that they are the clients behind one NAT.
type ports struct {
	first   int            // number of the first client
	gateway netip.AddrPort // its port of UDP encapsulation
	sockets []socket
	byPort  map[uint16]int // index of sockets
	poll    int
	end     int // becomes readable when the reader is to end
	reader  sync.WaitGroup
	done    chan struct{}
	read    chan *udp.Batch
	free    chan *udp.Batch
	rooms   map[*udp.Batch][]byte // for the datagrams of each
	out     []byte
	failed  error // the first since the last Flush
}

type socket struct {
	fd    int
	local netip.AddrPort
}

// openPorts opens the sockets of so many clients at one address.
func openPorts(own netip.Addr, gateway netip.AddrPort, first, n int) (_ *ports, err error) {
	p := &ports{
		first: first, gateway: gateway, byPort: map[uint16]int{}, rooms: map[*udp.Batch][]byte{},
		done: make(chan struct{}), read: make(chan *udp.Batch, 1), free: make(chan *udp.Batch, 2),
	}
	if p.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if p.end, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err == nil {
		err = unix.EpollCtl(p.poll, unix.EPOLL_CTL_ADD, p.end, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.end)})
	}
	for i := 0; i < n && err == nil; i++ {
		if err = p.open(own); err != nil {
			err = fmt.Errorf("port of client %d: %w: net.ipv4.ip_local_port_range and the limit of open files tell how many there are", first+i+1, err)
		}
	}
	if err != nil {
		p.close()
		return nil, err
	}
	for range cap(p.free) {
		b := &udp.Batch{}
		p.rooms[b] = make([]byte, batch*udp.MaxDatagram)
		p.free <- b
	}
	p.reader.Go(p.receive)
	return p, nil
}

// open opens one more socket, at a port that the system chooses.
func (p *ports) open(own netip.Addr) error {
	family := unix.AF_INET
	if own.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	p.sockets = append(p.sockets, socket{fd: fd})
	if err := unix.Bind(fd, toSystem(netip.AddrPortFrom(own, 0))); err != nil {
		return err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	s := &p.sockets[len(p.sockets)-1]
	s.local = fromSystem(bound)
	p.byPort[s.local.Port()] = len(p.sockets) - 1
	return unix.EpollCtl(p.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd), Pad: int32(len(p.sockets) - 1)})
}

func (p *ports) of(client int) (netip.AddrPort, uint16) {
	local := p.sockets[client-p.first].local
	return local, local.Port()
}

// receive reads one datagram of each socket that has any, until the end.
func (p *ports) receive() {
	defer close(p.read)
	events := make([]unix.EpollEvent, batch)
	for {
		var b *udp.Batch
		select {
		case b = <-p.free:
		case <-p.done:
			return
		}
		n, err := unix.EpollWait(p.poll, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		b.Messages = b.Messages[:0]
		for i := range max(n, 0) {
			if int(events[i].Fd) != p.end {
				p.take(b, p.sockets[events[i].Pad], p.rooms[b][i*udp.MaxDatagram:][:udp.MaxDatagram])
			}
		}
		select {
		case p.read <- b:
		case <-p.done:
			return
		}
	}
}

// take adds the datagram that waits at s to b, if it is one of IKE.
func (p *ports) take(b *udp.Batch, s socket, room []byte) {
	n, from, err := unix.Recvfrom(s.fd, room, 0)
	if err != nil || n == 0 {
		return
	}
	m := udp.Message{Local: s.local, Remote: fromSystem(from), Data: room[:n]}
	if m.Remote == p.gateway {
		if !natt.HasMarker(m.Data) { // ESP, or what keeps a mapping
			return
		}
		m.Data, m.Marker = m.Data[natt.Marker:], true
	}
	b.Messages = append(b.Messages, m)
}

func (p *ports) Read() <-chan *udp.Batch { return p.read }

func (p *ports) Recycle(b *udp.Batch) { p.free <- b }

// Queue sends m at once: no system call serves two sockets.
func (p *ports) Queue(m udp.Message) {
	at, ok := p.byPort[m.Local.Port()]
	if !ok {
		return
	}
	p.out = p.out[:0]
	if m.Marker {
		p.out = append(p.out, make([]byte, natt.Marker)...)
	}
	p.out = append(p.out, m.Data...)
	if err := unix.Sendto(p.sockets[at].fd, p.out, 0, toSystem(m.Remote)); err != nil && p.failed == nil {
		p.failed = err
	}
}

func (p *ports) Flush() error {
	err := p.failed
	p.failed = nil
	return err
}

// Close ends the reader and closes the sockets.
func (p *ports) Close() error {
	close(p.done)
	_, err := unix.Write(p.end, []byte{0, 0, 0, 0, 0, 0, 0, 1})
	p.reader.Wait()
	return errors.Join(err, p.close())
}

func (p *ports) close() error {
	errs := []error{unix.Close(p.poll), unix.Close(p.end)}
	for _, s := range p.sockets {
		errs = append(errs, unix.Close(s.fd))
	}
	return errors.Join(errs...)
}

func toSystem(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func fromSystem(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}
