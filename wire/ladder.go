package wire

// AppendLadder appends the one human form of a message that logs, tests and
// docs use, as `IKE_SESSION_RESUME {Ni, N(TICKET_OPAQUE)}`. payloads is what
// follows the header. plain, if not nil, is the content of SK or SKF.
func AppendLadder(b []byte, h Header, payloads, plain []byte) []byte {
	b = append(b, h.Exchange.String()...)
	b = append(b, " {"...)
	b = appendChain(b, h, h.NextPayload, payloads, plain)
	return append(b, '}')
}

func appendChain(b []byte, h Header, first PayloadType, payloads, plain []byte) []byte {
	walk := Walk(first, payloads)
	for n := 0; ; n++ {
		p, ok := walk.Next()
		if !ok {
			break
		}
		if n > 0 {
			b = append(b, ", "...)
		}
		b = appendPayload(b, h, p, plain)
	}
	if walk.Err() != nil {
		b = append(b, " (malformed)"...)
	}
	return b
}

func appendPayload(b []byte, h Header, p Payload, plain []byte) []byte {
	side := byte('i')
	if h.Flags&FlagResponse != 0 {
		side = 'r'
	}
	first := h.Exchange == ExchangeIKESAInit || h.Exchange == ExchangeSessionResume
	switch p.Type {
	case PayloadSK, PayloadSKF:
		b = append(b, p.Type.String()...)
		if plain == nil {
			return append(b, " {...}"...)
		}
		b = append(b, " {"...)
		return append(appendChain(b, h, p.Next, plain, nil), '}')
	case PayloadSA:
		b = append(b, 'S', 'A', side)
		if first {
			return append(b, '1')
		}
		return append(b, '2')
	case PayloadKE, PayloadNonce:
		return append(append(b, map[PayloadType]string{PayloadKE: "KE", PayloadNonce: "N"}[p.Type]...), side)
	case PayloadNotify:
		n, err := ParseNotify(p.Body)
		if err != nil {
			return append(b, "N(malformed)"...)
		}
		return append(append(append(b, "N("...), n.Type.String()...), ')')
	}
	return append(b, p.Type.String()...)
}
