package storm

import (
	"encoding/binary"
	"net/netip"

	"blackswan/ike"
)

// client is what a crowd knows of one of its clients. It holds no pointer, and
// its times are nanoseconds since the storm began; 0 is never.
type client struct {
	sa       ike.Handle // established
	began    int64      // the handshake or the resume that is under way
	up       int64      // connected in full for the first time
	full     int64      // how long that took
	detected int64      // the crash
	back     int64      // with a new SA, after the crash
	resume   int64      // how long that resume took
	by       ike.By
	resumed  bool // back by a ticket
	fellBack bool // showed no ticket although it had one
	live     bool // has an SA of the gateway that runs now
}

// addresses are the addresses of own clients: one after the other from a
// prefix, or one for all.
type addresses struct {
	first netip.Addr
	room  int // how many there are
}

// spread makes addresses of a prefix. Its first and its last address are left out.
func spread(p netip.Prefix) addresses {
	bits := min(p.Addr().BitLen()-p.Bits(), 30)
	if bits < 2 {
		return addresses{p.Addr(), 1}
	}
	return addresses{p.Masked().Addr().Next(), 1<<bits - 2}
}

// of is the address of client n. Beyond the last of a prefix its first come
// again.
func (a addresses) of(n int) netip.Addr {
	n %= a.room
	b := a.first.As16()
	low := binary.BigEndian.Uint64(b[8:])
	binary.BigEndian.PutUint64(b[8:], low+uint64(n))
	return netip.AddrFrom16(b).Unmap()
}
