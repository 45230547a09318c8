package ticket

import (
	"encoding/binary"
	"net/netip"
)

// ParseSession reads exactly one encoded session into s, whose slices then view
// b. It allocates nothing. Its error is ErrFormat; s is empty then.
func ParseSession(b []byte, s *Session) error {
	*s = Session{}
	if !s.parse(b) {
		*s = Session{}
		return ErrFormat
	}
	return nil
}

func (s *Session) parse(b []byte) bool {
	if len(b) < fixedSize || b[0] != sessionVersion {
		return false
	}
	s.MethodI, s.MethodR, s.AuthForm = b[1], b[2], b[3]
	for i, v := range [...]*uint16{&s.Suite.Encr, &s.Suite.KeyBits, &s.Suite.Integ, &s.Suite.PRF, &s.Suite.KE} {
		*v = binary.BigEndian.Uint16(b[4+2*i:])
	}
	b = b[14:]
	s.SPIi, s.SPIr = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	s.Lineage = [16]byte(b[16:])
	s.Serial = binary.BigEndian.Uint32(b[32:])
	b = b[36:]
	for _, t := range [...]*int64{&s.Issued, &s.Expires, &s.FullAuth, &s.LastKE, &s.Reauth} {
		*t, b = readTime(b), b[timeSize:]
	}
	return s.parseVariable(b)
}

func (s *Session) parseVariable(b []byte) bool {
	if len(b) < 1 {
		return false
	}
	n, b := int(b[0]), b[1:]
	if n == 0 || n > maxSKd || len(b) < n {
		return false
	}
	s.SKd, b = SKd(b[:n:n]), b[n:]
	var ok bool
	if b, ok = s.IDi.parse(b); !ok {
		return false
	}
	if b, ok = s.IDr.parse(b); !ok {
		return false
	}
	return s.parseFields(b)
}

func (s *Session) parseFields(b []byte) bool {
	if len(b) < 2 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
		return false
	}
	for last, b := uint8(0), b[2:]; len(b) > 0; {
		if len(b) < 3 || b[0] <= last {
			return false
		}
		last = b[0]
		n := int(binary.BigEndian.Uint16(b[1:]))
		b = b[3:]
		if n == 0 || n > len(b) || !s.parseField(last, b[:n:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

func (id *ID) parse(b []byte) (rest []byte, ok bool) {
	if len(b) < 3 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if n > len(b)-3 {
		return nil, false
	}
	id.Type, id.Data = b[0], b[3:3+n:3+n]
	return b[3+n:], true
}

func (s *Session) parseField(tag uint8, v []byte) bool {
	c, r := &s.PeerCert, &s.RADIUS
	switch tag {
	case tagConnection:
		s.Connection = v
	case tagIdentity:
		s.Identity = v
	case tagAdditionalKE:
		return s.Suite.parseAdditional(v)
	case tagCertIssuer:
		c.Issuer = v
	case tagCertSerial:
		c.Serial = v
	case tagCertNotAfter:
		return parseTime(v, &c.NotAfter)
	case tagCertAnchor:
		return copy(c.Anchor[:], v) == len(v) && len(v) == len(c.Anchor)
	case tagPeerAddr:
		return parseAddr(v, &s.PeerAddr)
	case tagPPKID:
		s.PPKID = v
	case tagClass:
		r.Class = v
	case tagGroup:
		r.Group = v
	case tagAcctSessionID:
		r.AcctSessionID = v
	case tagSessionStart:
		return parseTime(v, &r.SessionStart)
	case tagSessionTimeout:
		return parseNumber(v, &r.SessionTimeout)
	case tagIdleTimeout:
		return parseNumber(v, &r.IdleTimeout)
	case tagInner4:
		return parseAddr(v, &s.Inner4)
	case tagInner6:
		return parseAddr(v, &s.Inner6)
	default:
		return tag < mustKnow
	}
	return true
}

func (s *Suite) parseAdditional(v []byte) bool {
	n := len(v) / 2
	if len(v)%2 != 0 || n > len(s.AdditionalKE) {
		return false
	}
	for i := range n {
		s.AdditionalKE[i] = binary.BigEndian.Uint16(v[2*i:])
	}
	return s.AdditionalKE[n-1] != 0
}

func parseTime(v []byte, t *int64) bool {
	if len(v) != timeSize {
		return false
	}
	*t = readTime(v)
	return *t != 0
}

func parseNumber(v []byte, n *uint32) bool {
	if len(v) != 4 {
		return false
	}
	*n = binary.BigEndian.Uint32(v)
	return *n != 0
}

func parseAddr(v []byte, a *netip.Addr) bool {
	switch len(v) {
	case 4:
		*a = netip.AddrFrom4([4]byte(v))
	case 16:
		*a = netip.AddrFrom16([16]byte(v))
	default:
		return false
	}
	return true
}
