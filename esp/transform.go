package esp

// transform is the live half of an SA's algorithm: ciphers with their keys, and
// scratch. seq is the whole sequence number. A packet begins at its SPI and has
// a length that its Algorithm calls whole.
type transform interface {
	// seal fills in IV and ICV of a packet and encrypts in place what is
	// between them.
	seal(packet []byte, seq uint64)

	// open appends to dst what is between IV and ICV of a packet, decrypted,
	// and returns only that. If the ICV is wrong it returns ErrICV.
	open(dst, packet []byte, seq uint64) ([]byte, error)
}

// direction is what a transform is made for.
type direction bool

const (
	sending   direction = true
	receiving direction = false
)
