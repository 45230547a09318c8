package cert

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // the hashes of SIGNATURE_HASH_ALGORITHMS
	_ "crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"

	"blackswan/auth"
)

// form is how a key makes a signature.
type form uint8

const (
	formPKCS1   form = iota + 1 // RSASSA-PKCS1-v1_5
	formPSS                     // RSASSA-PSS
	formECDSA                   // ECDSA, DER in method 14, r | s in methods 9 to 11
	formEd25519                 // the message as it is, RFC 8420
)

// scheme is a signature algorithm with its hash.
type scheme struct {
	form form
	hash crypto.Hash // 0 for Ed25519
	salt int         // octets, RSASSA-PSS only
}

var (
	oidPSS     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidMGF1    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// hashRow is a hash with its numbers.
type hashRow struct {
	id                uint16 // RFC 7427 7
	hash              crypto.Hash
	oid, pkcs1, ecdsa asn1.ObjectIdentifier // of the hash alone, and with RSA and ECDSA
}

// hashes lists what we sign with and accept, the shortest first. SHA-1 has no
// row (rule G1).
var hashes = []hashRow{
	{auth.HashSHA256, crypto.SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
	{auth.HashSHA384, crypto.SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}},
	{auth.HashSHA512, crypto.SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}},
}

type pssParameters struct {
	Hash    pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
	MGF     pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
	Salt    int                      `asn1:"optional,explicit,tag:2,default:20"`
	Trailer int                      `asn1:"optional,explicit,tag:3,default:1"`
}

type pssWithTrailer struct {
	Hash    pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
	MGF     pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
	Salt    int                      `asn1:"optional,explicit,tag:2,default:20"`
	Trailer int                      `asn1:"explicit,tag:3"`
}

// identifier is the AlgorithmIdentifier in the spelling that each algorithm's
// specification prefers (RFC 7427 3 and appendix A): NULL for RSA, nothing for
// ECDSA and Ed25519.
func (s scheme) identifier() []byte {
	var a pkix.AlgorithmIdentifier
	for _, h := range hashes {
		if h.hash != s.hash {
			continue
		}
		switch s.form {
		case formPKCS1:
			a = pkix.AlgorithmIdentifier{Algorithm: h.pkcs1, Parameters: asn1.NullRawValue}
		case formECDSA:
			a.Algorithm = h.ecdsa
		case formPSS:
			hash := pkix.AlgorithmIdentifier{Algorithm: h.oid, Parameters: asn1.NullRawValue}
			mgf := pkix.AlgorithmIdentifier{Algorithm: oidMGF1, Parameters: asn1.RawValue{FullBytes: marshal(hash)}}
			a = pkix.AlgorithmIdentifier{Algorithm: oidPSS, Parameters: asn1.RawValue{
				FullBytes: marshal(pssParameters{Hash: hash, MGF: mgf, Salt: s.salt, Trailer: 1}),
			}}
		}
	}
	if s.form == formEd25519 {
		a.Algorithm = oidEd25519
	}
	return marshal(a)
}

func marshal(v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		panic(err) // a value of ours that has no DER
	}
	return b
}

// unmarshal reads DER and nothing else: the identifier is outside the
// signature, and package asn1 reads some encodings that are not DER.
func unmarshal[T any](der []byte, v *T) bool {
	rest, err := asn1.Unmarshal(der, v)
	if err != nil || len(rest) > 0 {
		return false
	}
	again, err := asn1.Marshal(*v)
	return err == nil && bytes.Equal(again, der)
}

var errScheme = errors.New("unknown signature algorithm")

// The data of an AUTH payload of method 14, RFC 7427 3:
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| ASN.1 Length  |         AlgorithmIdentifier, DER              ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                        Signature Value                        ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

// frame puts the length octet and the algorithm in front of a signature.
func (s scheme) frame(signature []byte) []byte {
	id := s.identifier()
	return slices.Concat([]byte{byte(len(id))}, id, signature)
}

// unframe reads data of method 14. The signature views data.
func unframe(data []byte) (s scheme, signature []byte, err error) {
	if len(data) < 1 || len(data) < 1+int(data[0]) {
		return scheme{}, nil, errScheme
	}
	s, err = parseScheme(data[1 : 1+int(data[0])])
	return s, data[1+int(data[0]):], err
}

func parseScheme(der []byte) (scheme, error) {
	var a pkix.AlgorithmIdentifier
	if !unmarshal(der, &a) {
		return scheme{}, errScheme
	}
	if a.Algorithm.Equal(oidPSS) {
		return parsePSS(a.Parameters.FullBytes)
	}
	if !isNull(a.Parameters) {
		return scheme{}, errScheme
	}
	if a.Algorithm.Equal(oidEd25519) {
		return scheme{form: formEd25519}, nil
	}
	for _, h := range hashes {
		switch {
		case a.Algorithm.Equal(h.pkcs1):
			return scheme{form: formPKCS1, hash: h.hash}, nil
		case a.Algorithm.Equal(h.ecdsa):
			return scheme{form: formECDSA, hash: h.hash}, nil
		}
	}
	return scheme{}, errScheme
}

// parsePSS reads RSASSA-PSS-params. The defaults are SHA-1 and so refused; the
// mask's hash must be the message's.
func parsePSS(der []byte) (scheme, error) {
	var p pssParameters
	if !unmarshal(der, &p) {
		// RFC 7427 A.4.3 writes the default trailer, which DER leaves out.
		var full pssWithTrailer
		if !unmarshal(der, &full) {
			return scheme{}, errScheme
		}
		p = pssParameters(full)
	}
	var mask pkix.AlgorithmIdentifier
	if p.Trailer != 1 || !p.MGF.Algorithm.Equal(oidMGF1) || !unmarshal(p.MGF.Parameters.FullBytes, &mask) {
		return scheme{}, errScheme
	}
	if !mask.Algorithm.Equal(p.Hash.Algorithm) || !isNull(mask.Parameters) || !isNull(p.Hash.Parameters) {
		return scheme{}, errScheme
	}
	for _, h := range hashes {
		// A salt of 0 would mean "any" to crypto/rsa.
		if p.Hash.Algorithm.Equal(h.oid) && p.Salt > 0 && p.Salt <= 255 {
			return scheme{form: formPSS, hash: h.hash, salt: p.Salt}, nil
		}
	}
	return scheme{}, errScheme
}

// isNull accepts both spellings of no parameters, RFC 7427 3: NULL and nothing.
func isNull(v asn1.RawValue) bool {
	return len(v.FullBytes) == 0 || bytes.Equal(v.FullBytes, asn1.NullBytes)
}
