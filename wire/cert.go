package wire

// CertEncoding is the kind of a certificate or of a list of CAs (3.6).
type CertEncoding uint8

// Certificate encodings, IANA "IKEv2 Certificate Encodings".
const (
	CertPKCS7Wrapped  CertEncoding = 1
	CertPGP           CertEncoding = 2
	CertDNSSignedKey  CertEncoding = 3
	CertX509Signature CertEncoding = 4 // one DER certificate; in CERTREQ hashes of CA keys
	CertKerberosToken CertEncoding = 6
	CertCRL           CertEncoding = 7
	CertARL           CertEncoding = 8
	CertSPKI          CertEncoding = 9
	CertX509Attribute CertEncoding = 10
	CertRawRSAKey     CertEncoding = 11
	CertHashURL       CertEncoding = 12 // SHA-1 hash and URL of a certificate
	CertHashURLBundle CertEncoding = 13 // of a bundle
	CertOCSPContent   CertEncoding = 14 // RFC 4806
	CertRawPublicKey  CertEncoding = 15 // RFC 7670
)

// String returns the IANA name, or the number of an unassigned one.
func (e CertEncoding) String() string { return nameOf(certNames, e) }

var certNames = map[CertEncoding]string{
	CertPKCS7Wrapped:  "PKCS #7 wrapped X.509 certificate",
	CertPGP:           "PGP Certificate",
	CertDNSSignedKey:  "DNS Signed Key",
	CertX509Signature: "X.509 Certificate - Signature",
	CertKerberosToken: "Kerberos Token",
	CertCRL:           "Certificate Revocation List (CRL)",
	CertARL:           "Authority Revocation List (ARL)",
	CertSPKI:          "SPKI Certificate",
	CertX509Attribute: "X.509 Certificate - Attribute",
	CertRawRSAKey:     "Raw RSA Key",
	CertHashURL:       "Hash and URL of X.509 certificate",
	CertHashURLBundle: "Hash and URL of X.509 bundle",
	CertOCSPContent:   "OCSP Content",
	CertRawPublicKey:  "Raw Public Key",
}

// Cert is a Certificate payload (3.6). A chain is several payloads, the end
// entity's certificate first.
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Cert Encoding |                                               |
//	+-+-+-+-+-+-+-+-+       Certificate Data                        ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Cert struct {
	Encoding CertEncoding
	Data     []byte // never empty
}

// ParseCert views a Certificate body. Error: ErrShort.
func ParseCert(body []byte) (Cert, error) {
	if len(body) <= 1 {
		return Cert{}, ErrShort
	}
	return Cert{CertEncoding(body[0]), body[1:]}, nil
}

// Append appends the body.
func (c Cert) Append(b []byte) []byte {
	b = append(b, byte(c.Encoding))
	return append(b, c.Data...)
}

// AuthorityHashLen is the size in octets of one entry of CertReq.Hashes: SHA-1
// over a CA's SubjectPublicKeyInfo (3.7).
const AuthorityHashLen = 20

// CertReq is a Certificate Request payload (3.7).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Cert Encoding |                                               |
//	+-+-+-+-+-+-+-+-+       Certification Authority (20 each)       ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type CertReq struct {
	Encoding CertEncoding
	Hashes   []byte // one after the other; for other encodings than 4, 12 and 13 not hashes but opaque
}

// ParseCertReq views a Certificate Request body. Errors: ErrShort, ErrCertReq.
func ParseCertReq(body []byte) (CertReq, error) {
	if len(body) < 1 {
		return CertReq{}, ErrShort
	}
	c := CertReq{CertEncoding(body[0]), body[1:]}
	switch c.Encoding {
	case CertX509Signature, CertHashURL, CertHashURLBundle:
		if len(c.Hashes)%AuthorityHashLen != 0 {
			return CertReq{}, ErrCertReq
		}
	}
	return c, nil
}

// Append appends the body.
func (c CertReq) Append(b []byte) []byte {
	b = append(b, byte(c.Encoding))
	return append(b, c.Hashes...)
}
