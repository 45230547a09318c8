// Package frag cuts the content of an Encrypted payload into fragments and
// puts received ones together again (RFC 7383). Fragments are encrypted and
// decrypted elsewhere: here all is plaintext that has been authenticated.
package frag

// MaxFragments is the most fragments that a message is received in. No
// message of ours should be cut into more: MaxMessage in fragments for a
// datagram of 1,280 octets takes 55.
const MaxFragments = 64

// MaxMessage is the most octets of content that are put together.
const MaxMessage = 1<<16 - 1

// MaxPlain is the most content that fits in a fragment whose datagram has at
// most limit octets (RFC 7383 2.5.1, appendix B). Overhead is all around the
// encrypted octets that limit counts: IKE and SKF headers, IV and ICV, and of
// IP, UDP and non-ESP marker what limit is meant with.
// The content and its Pad Length octet fill whole blocks: 1 octet for a mode
// without padding, 16 for AES-CBC. It is 0 when nothing fits.
func MaxPlain(limit, overhead, block int) int {
	room := limit - overhead
	if block > 1 {
		room -= room % block
	}
	return max(room-1, 0)
}

// Pieces is how many fragments content of this length takes when each holds at
// most limit octets; at least 1. A limit below 1 counts as 1. More than MaxFragments:
// the message should not be sent.
func Pieces(plain, limit int) int {
	limit = max(limit, 1)
	return max((plain+limit-1)/limit, 1)
}

// Piece is the content of fragment num, which counts from 1 (RFC 7383 2.5). It
// views plain. Beyond the last fragment it is empty.
func Piece(plain []byte, limit, num int) []byte {
	limit = max(limit, 1)
	start := min((num-1)*limit, len(plain))
	return plain[start:min(start+limit, len(plain))]
}
