package wire

import "errors"

// What can be wrong with octets that claim to be IKEv2. Compare with ==.
var (
	ErrShort     = errors.New("wire: shorter than its fixed part or its own length field says")
	ErrTrailing  = errors.New("wire: octets left over after the last field")
	ErrLength    = errors.New("wire: a length field is smaller than its own header")
	ErrSKNotLast = errors.New("wire: a payload follows the encrypted one")
	ErrLast      = errors.New("wire: a proposal or transform is marked last and is not, or the reverse")
	ErrProposal  = errors.New("wire: proposal numbers do not count up by one")
	ErrCount     = errors.New("wire: a count field disagrees with what is there")
	ErrSPISize   = errors.New("wire: SPI size does not fit the protocol")
	ErrNonce     = errors.New("wire: nonce is not 16 to 256 octets")
	ErrIdentity  = errors.New("wire: an identity without octets, or an address of the wrong size")
	ErrCertReq   = errors.New("wire: certificate request is not a list of 20-octet hashes")
	ErrSelector  = errors.New("wire: traffic selector of the wrong size, or one that ends before it starts")
	ErrEAP       = errors.New("wire: EAP code is not request, response, success or failure")
	ErrFragment  = errors.New("wire: fragment number is zero or above the total")
)
