// Package esp makes and opens the packets of ESP SAs, RFC 4303 in tunnel mode:
// an IPv4 or IPv6 packet inside, AES-GCM (RFC 4106), ChaCha20-Poly1305
// (RFC 7634) or AES-CBC (RFC 3602) with HMAC-SHA2 (RFC 4868), 32 or 64 bits of
// sequence number, and a replay window (RFC 6479).
//
//	| SPI 4 | Sequence Number 4 | IV 8 or 16 | payload | padding | pad length 1 | next header 1 | ICV 16..32 |
//	|<------------- HeadLen ---------------->|         |<--------------- TailLen at most ---------------->|
//
// An Out is the sending half of an SA and an In the receiving half. Neither has
// a lock: their owner serialises the calls. Once an SA has carried a packet, no
// packet costs an allocation. What carries the ESP packets, UDP or IP, which SA
// a packet is for, and what its policy says of the packet inside, is the
// business of the caller.
package esp
