package wire

// Sizes of a nonce in octets (2.10, 3.9).
const (
	MinNonceLen = 16
	MaxNonceLen = 256
)

// ParseNonce views the body of Ni or Nr. Error: ErrNonce.
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                  Nonce Data (16 to 256 octets)                ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func ParseNonce(body []byte) ([]byte, error) {
	if len(body) < MinNonceLen || len(body) > MaxNonceLen { //rfc:7296-3.9-1
		return nil, ErrNonce
	}
	return body, nil
}
