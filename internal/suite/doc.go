// Package suite holds the algorithms of an IKE SA: the pseudorandom function
// and prf+, the keys that come from them, the AUTH values of shared secrets
// and tickets, the protection of SK and SKF payloads, and key agreement
// (RFC 7296 2.10 to 2.18 and 3.14, RFC 5282, RFC 5723 5.1, RFC 7634).
//
// Keys are kept, cipher objects are not: a cipher is set up once for each
// message. PRF and Box own their scratch, so that nothing else is allocated;
// neither is for concurrent use.
package suite
