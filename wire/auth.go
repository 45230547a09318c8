package wire

// AuthMethod says how AUTH was computed (3.8).
type AuthMethod uint8

// Authentication methods, IANA "IKEv2 Authentication Method".
const (
	AuthRSA       AuthMethod = 1
	AuthSharedKey AuthMethod = 2
	AuthDSS       AuthMethod = 3
	AuthECDSA256  AuthMethod = 9 // RFC 4754, to 11
	AuthECDSA384  AuthMethod = 10
	AuthECDSA521  AuthMethod = 11
	AuthGSPAM     AuthMethod = 12 // RFC 6467
	AuthNull      AuthMethod = 13 // RFC 7619
	AuthSignature AuthMethod = 14 // RFC 7427
)

// String returns the IANA name, or the number of an unassigned one.
func (m AuthMethod) String() string { return nameOf(authNames, m) }

var authNames = map[AuthMethod]string{
	AuthRSA:       "RSA Digital Signature",
	AuthSharedKey: "Shared Key Message Integrity Code",
	AuthDSS:       "DSS Digital Signature",
	AuthECDSA256:  "ECDSA with SHA-256 on the P-256 curve",
	AuthECDSA384:  "ECDSA with SHA-384 on the P-384 curve",
	AuthECDSA521:  "ECDSA with SHA-512 on the P-521 curve",
	AuthGSPAM:     "Generic Secure Password Authentication Method",
	AuthNull:      "NULL Authentication",
	AuthSignature: "Digital Signature",
}

// Auth is an Authentication payload (3.8).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Auth Method  |                  RESERVED                     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                      Authentication Data                      ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Auth struct {
	Method AuthMethod
	Data   []byte // never empty
}

// ParseAuth views an Authentication body. Error: ErrShort.
func ParseAuth(body []byte) (Auth, error) {
	if len(body) <= 4 {
		return Auth{}, ErrShort
	}
	return Auth{AuthMethod(body[0]), body[4:]}, nil
}

// Append appends the body.
func (a Auth) Append(b []byte) []byte {
	b = append(b, byte(a.Method), 0, 0, 0)
	return append(b, a.Data...)
}
