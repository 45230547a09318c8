// Package wire is the IKEv2 message as it lies in a datagram: the header, a
// file per payload (RFC 7296 section 3), the fragment payload of RFC 7383, and
// every number and name of the IANA registry "IKEv2 Parameters".
//
// Reading never allocates: ParseX looks at the octets that it is given, and
// its result is a view that lives exactly as long as they stay unchanged.
// Writing appends to the caller's buffer and allocates only to make it longer.
//
// Decisions that hold for every payload:
//
//   - reserved fields are sent as zero and not looked at (2.5);
//   - a length or count that disagrees with the octets is an error, trailing
//     octets included: no strict prefix of a message parses;
//   - an unknown payload, transform, attribute, notify or selector type is no
//     error here: it is handed on, marked, and the caller decides.
//
// All errors are sentinel values. What a peer is told about them is
// INVALID_SYNTAX (2.21), if anything at all.
package wire
