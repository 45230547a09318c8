package suite

var keyPad = []byte("Key Pad for IKEv2") // 17 octets, no null at the end (RFC 7296 2.15)

// AuthInput is what an AUTH value covers (RFC 7296 2.15): the signer's first
// message from SPIi to its last octet, the other side's nonce, and the
// signer's MACedID. The slices are only read.
type AuthInput struct{ Message, Nonce, MACedID []byte }

// Append appends the signed octets, which digital signatures are made over.
func (in AuthInput) Append(b []byte) []byte {
	b = append(b, in.Message...)
	b = append(b, in.Nonce...)
	return append(b, in.MACedID...)
}

// MACedID appends prf(SK_px, IDx') to dst. idBody is the ID payload without
// its generic header: type, three reserved octets, data.
func MACedID(p *PRF, dst, skp, idBody []byte) []byte {
	p.Key(skp)
	p.Write(idBody)
	return p.Sum(dst)
}

// AuthPSK appends prf(prf(psk, "Key Pad for IKEv2"), signed octets) to dst
// (RFC 7296 2.15). psk is the shared secret, or the MSK of an EAP method.
func AuthPSK(p *PRF, dst, psk []byte, in AuthInput) []byte {
	p.Key(psk)
	p.Write(keyPad)
	p.Key(p.Sum(p.out[:0]))
	return mac(p, dst, in)
}

// AuthResume appends prf(SK_px, signed octets) to dst: the AUTH value after a
// resume (RFC 5723 4.3.3). skp is SK_pi or SK_pr of the resumed SA.
func AuthResume(p *PRF, dst, skp []byte, in AuthInput) []byte {
	p.Key(skp)
	return mac(p, dst, in) //rfc:5723-4.3.3-2
}

// AuthResumeShort appends prf(SK_px, message) to dst, the form of libreswan:
// neither nonce nor identity are covered.
func AuthResumeShort(p *PRF, dst, skp, message []byte) []byte {
	p.Key(skp)
	p.Write(message)
	return p.Sum(dst)
}

func mac(p *PRF, dst []byte, in AuthInput) []byte {
	p.Write(in.Message)
	p.Write(in.Nonce)
	p.Write(in.MACedID)
	return p.Sum(dst)
}
