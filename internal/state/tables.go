package state

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"blackswan/ticket"
)

// Octets of the records that are kept in Pages.
const (
	RollCallSize = 62
	FloorSize    = 28
	ChildSPISize = 22
)

// ErrRecord is what is not a record of its table.
var ErrRecord = errors.New("state: not a record of this table")

// RollCallEntry is a live SA as the roll call of the next process needs it
// (rule C2).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                             SPIi                              |
//	|                                                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                             SPIr                              |
//	|                                                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Flags        |  Generation   |  Local (address 16, port 2)   ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~  Remote (address 16, port 2)                                  ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                             Heard                             |
//	|                                                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type RollCallEntry struct {
	SPIi, SPIr    uint64
	Original      bool           // we made this SA: our part decides the I flag
	Ours          bool           // the peer announced that it takes a roll call (rule C1)
	Generation    uint8          // of the token's secret, 0 to 3
	Local, Remote netip.AddrPort // without zone
	Marker        bool           // its messages carry the non-ESP marker
	Heard         int64          // last authenticated packet, Unix seconds
}

const (
	flagOriginal = 1 << iota
	flagMarker
	flagLocal4
	flagRemote4
	flagOurs
	flagsKnown = flagOurs<<1 - 1
)

// AppendRollCallEntry appends RollCallSize octets.
func AppendRollCallEntry(b []byte, e RollCallEntry) []byte {
	flags := byte(0)
	for _, f := range []struct {
		set bool
		bit byte
	}{
		{e.Original, flagOriginal},
		{e.Marker, flagMarker},
		{e.Local.Addr().Is4(), flagLocal4},
		{e.Remote.Addr().Is4(), flagRemote4},
		{e.Ours, flagOurs},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	b = binary.BigEndian.AppendUint64(b, e.SPIi)
	b = binary.BigEndian.AppendUint64(b, e.SPIr)
	b = append(b, flags, e.Generation)
	b = appendAddrPort(b, e.Local)
	b = appendAddrPort(b, e.Remote)
	return binary.BigEndian.AppendUint64(b, uint64(e.Heard))
}

// appendAddrPort appends 18 octets; no address is ::, port 0.
func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	addr := [16]byte{}
	if a.Addr().IsValid() {
		addr = a.Addr().As16()
	}
	b = append(b, addr[:]...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// ParseRollCallEntry reads exactly one entry.
func ParseRollCallEntry(b []byte) (RollCallEntry, error) {
	if len(b) != RollCallSize || b[16]&^flagsKnown != 0 || b[17] > 3 {
		return RollCallEntry{}, ErrRecord
	}
	local, okLocal := parseAddrPort(b[18:36], b[16]&flagLocal4 != 0)
	remote, okRemote := parseAddrPort(b[36:54], b[16]&flagRemote4 != 0)
	if !okLocal || !okRemote {
		return RollCallEntry{}, ErrRecord
	}
	return RollCallEntry{
		SPIi:       binary.BigEndian.Uint64(b),
		SPIr:       binary.BigEndian.Uint64(b[8:]),
		Original:   b[16]&flagOriginal != 0,
		Marker:     b[16]&flagMarker != 0,
		Ours:       b[16]&flagOurs != 0,
		Generation: b[17],
		Local:      local,
		Remote:     remote,
		Heard:      int64(binary.BigEndian.Uint64(b[54:])),
	}, nil
}

func parseAddrPort(b []byte, is4 bool) (netip.AddrPort, bool) {
	addr := netip.AddrFrom16([16]byte(b))
	port := binary.BigEndian.Uint16(b[16:])
	switch {
	case is4 && !addr.Is4In6():
		return netip.AddrPort{}, false
	case is4:
		addr = addr.Unmap()
	case addr.IsUnspecified() && port == 0:
		return netip.AddrPort{}, true
	}
	return netip.AddrPortFrom(addr, port), true
}

// AppendFloor appends FloorSize octets: the record of a lineage whose tickets
// with a smaller serial are dead (rule D5).
//
//	lineage 16 | floor 4 | until 8
func AppendFloor(b []byte, f ticket.Floor) []byte {
	b = append(b, f.Lineage[:]...)
	b = binary.BigEndian.AppendUint32(b, f.Floor)
	return binary.BigEndian.AppendUint64(b, uint64(f.Until))
}

// ParseFloor reads exactly one floor.
func ParseFloor(b []byte) (ticket.Floor, error) {
	if len(b) != FloorSize {
		return ticket.Floor{}, ErrRecord
	}
	return ticket.Floor{
		Lineage: [16]byte(b),
		Floor:   binary.BigEndian.Uint32(b[16:]),
		Until:   int64(binary.BigEndian.Uint64(b[20:])),
	}, nil
}

// ChildSPI maps an ESP SPI of ours to the IKE SA above it, so that the next
// process can answer a stray ESP packet with that SA's token (rule A8).
//
//	ESP SPI 4 | SPIi 8 | SPIr 8 | generation 1 | role 1
type ChildSPI struct {
	ESP        uint32
	SPIi, SPIr uint64
	Generation uint8 // of the token's secret, 0 to 3
	Original   bool  // we made the IKE SA: SPIi is ours, otherwise SPIr
}

// AppendChildSPI appends ChildSPISize octets.
func AppendChildSPI(b []byte, c ChildSPI) []byte {
	b = binary.BigEndian.AppendUint32(b, c.ESP)
	b = binary.BigEndian.AppendUint64(b, c.SPIi)
	b = binary.BigEndian.AppendUint64(b, c.SPIr)
	role := byte(0)
	if c.Original {
		role = 1
	}
	return append(b, c.Generation, role)
}

// ParseChildSPI reads exactly one record.
func ParseChildSPI(b []byte) (ChildSPI, error) {
	if len(b) != ChildSPISize || b[20] > 3 || b[21] > 1 {
		return ChildSPI{}, ErrRecord
	}
	return ChildSPI{
		ESP:        binary.BigEndian.Uint32(b),
		SPIi:       binary.BigEndian.Uint64(b[4:]),
		SPIr:       binary.BigEndian.Uint64(b[12:]),
		Generation: b[20],
		Original:   b[21] == 1,
	}, nil
}
