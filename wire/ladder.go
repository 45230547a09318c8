package wire

import "strconv"

// AppendLadder appends the one-line human form of a message, the same in logs,
// tests and documents:
//
//	IKE_SESSION_RESUME {Ni, N(TICKET_OPAQUE)}
//	IKE_AUTH SK {...}
//	IKE_AUTH SKF(2/3) {...}
//
// payloads is what follows the header. plain, unless nil, is the plaintext of
// the SK in it, shown in place of the dots. A fault in a chain ends it with
// "malformed". Nothing of a payload is shown but the names of its types.
func AppendLadder(b []byte, h Header, payloads, plain []byte) []byte {
	b = append(append(b, h.Exchange.String()...), ' ')
	if h.NextPayload == PayloadSK || h.NextPayload == PayloadSKF {
		return appendChain(b, h, h.NextPayload, payloads, plain)
	}
	b = append(b, '{')
	b = appendChain(b, h, h.NextPayload, payloads, plain)
	return append(b, '}')
}

// AppendLadderSK is AppendLadder for a message of which only the plaintext is
// left, decrypted or put together from fragments; first is its first payload:
//
//	IKE_AUTH SK {IDi, AUTH, SAi2, TSi, TSr}
func AppendLadderSK(b []byte, h Header, first PayloadType, plain []byte) []byte {
	b = append(b, h.Exchange.String()...)
	b = append(b, " SK {"...)
	b = appendChain(b, h, first, plain, nil)
	return append(b, '}')
}

func appendChain(b []byte, h Header, first PayloadType, payloads, plain []byte) []byte {
	separator := ""
	walk := Walk(first, payloads)
	for p, ok := walk.Next(); ok; p, ok = walk.Next() {
		b = append(b, separator...)
		b = appendRung(b, h, p, plain)
		separator = ", "
	}
	if walk.Err() != nil {
		b = append(append(b, separator...), "malformed"...)
	}
	return b
}

// appendRung appends the short form of one payload, with the suffix that says
// whose it is.
func appendRung(b []byte, h Header, p Payload, plain []byte) []byte {
	side := byte('i')
	if h.Response() {
		side = 'r'
	}
	switch p.Type {
	case PayloadSA:
		b = append(b, "SA"...)
		switch h.Exchange {
		case ExchangeIKESAInit:
			b = append(b, side, '1')
		case ExchangeIKEAuth:
			b = append(b, side, '2')
		}
		return b
	case PayloadKE:
		return append(b, 'K', 'E', side)
	case PayloadNonce:
		return append(b, 'N', side)
	case PayloadNotify:
		return appendNotify(b, p.Body)
	case PayloadCP:
		if cp, err := ParseCP(p.Body); err == nil {
			return append(append(append(b, "CP("...), cp.Type.String()...), ')')
		}
	case PayloadSK:
		if plain == nil {
			return append(b, "SK {...}"...)
		}
		b = appendChain(append(b, "SK {"...), h, p.Next, plain, nil)
		return append(b, '}')
	case PayloadSKF:
		return appendFragment(b, p.Body)
	}
	return append(b, p.Type.String()...)
}

func appendNotify(b, body []byte) []byte {
	n, err := ParseNotify(body)
	if err != nil {
		return append(b, "N(malformed)"...)
	}
	return append(append(append(b, "N("...), n.Type.String()...), ')')
}

func appendFragment(b, body []byte) []byte {
	f, err := ParseSKF(body)
	if err != nil {
		return append(b, "SKF(malformed)"...)
	}
	b = append(b, "SKF("...)
	b = strconv.AppendUint(b, uint64(f.Number), 10)
	b = append(b, '/')
	b = strconv.AppendUint(b, uint64(f.Total), 10)
	return append(b, ") {...}"...)
}
