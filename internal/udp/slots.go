package udp

// slots is memory for the datagrams of one system call, in pieces of equal
// length.
type slots struct {
	buf    []byte
	most   int    // pieces
	size   int    // octets of each
	vector vector // what the system call wants of each
}

// runSlot is the octets of a slot for a run of datagrams that the kernel has
// joined, 64 KiB at most. (As MaxDatagram, it is an odd number of cache lines.)
const runSlot = 1025 * 64

// makeSlots makes room for so many datagrams, and for at least so many octets.
func makeSlots(datagrams, octets int) slots {
	s := slots{buf: make([]byte, max(datagrams*MaxDatagram, octets)), most: datagrams}
	s.vector.init(datagrams)
	s.shape(MaxDatagram)
	return s
}

// shape cuts the memory into pieces of so many octets.
func (s *slots) shape(size int) {
	if s.size != size {
		s.size = size
		s.vector.shape(s.buf, size, min(len(s.buf)/size, s.most))
	}
}

// slot is the room for datagram i.
func (s *slots) slot(i int) []byte {
	return s.buf[i*s.size : (i+1)*s.size : (i+1)*s.size]
}
