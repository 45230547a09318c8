package esp

import "encoding/binary"

// cutTrailer returns what stands before the trailer of a decrypted packet, and
// its Next Header. The caller has seen to it that there is a trailer.
func cutTrailer(plain []byte) (payload []byte, next uint8, err error) {
	end := len(plain) - trailLen
	padLen, next := int(plain[end]), plain[end+1]
	if padLen > end {
		return nil, next, ErrPadding
	}
	payload, padding := plain[:end-padLen], plain[end-padLen:end]
	for i, octet := range padding { // RFC 4303 2.4: it should be inspected
		if octet != byte(i+1) {
			return nil, next, ErrPadding
		}
	}
	return payload, next, nil
}

const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
)

// inner returns the IP packet that a payload begins with. Its own length says
// where it ends; what follows is TFC padding (RFC 4303 2.7).
func inner(payload []byte, next uint8) ([]byte, error) {
	var n int
	switch next {
	case NextIPv4:
		if len(payload) < ipv4HeaderLen || payload[0]>>4 != 4 {
			return nil, ErrInner
		}
		if n = int(binary.BigEndian.Uint16(payload[2:])); n < ipv4HeaderLen {
			return nil, ErrInner
		}
	case NextIPv6:
		if len(payload) < ipv6HeaderLen || payload[0]>>4 != 6 {
			return nil, ErrInner
		}
		n = ipv6HeaderLen + int(binary.BigEndian.Uint16(payload[4:]))
	case NextDummy:
		return nil, ErrDummy
	default:
		return nil, ErrNext
	}
	if n > len(payload) {
		return nil, ErrInner
	}
	return payload[:n:n], nil
}

// upper returns the payload of transport mode: all of it.
func upper(payload []byte, next uint8) ([]byte, error) {
	if next == NextDummy {
		return nil, ErrDummy
	}
	return payload[:len(payload):len(payload)], nil
}
