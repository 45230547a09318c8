package cert

import (
	"bytes"
	"crypto"
	"testing"
)

// TestRFC7427_A checks the AlgorithmIdentifiers of RFC 7427 appendix A and RFC
// 8420 appendix A.1, both spellings of no parameters, and what rule G1 and a
// careful reader refuse. Rows with mine are what we send.
func TestRFC7427_A(t *testing.T) {
	sha256PSS := "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
	for _, row := range []struct {
		section string
		der     string
		want    scheme // zero: refused
		mine    bool
	}{
		{"A.1.1 sha1WithRSAEncryption", "300d06092a864886f70d0101050500", scheme{}, false},
		{"A.1.2 sha256WithRSAEncryption", "300d06092a864886f70d01010b0500", scheme{formPKCS1, crypto.SHA256, 0}, true},
		{"A.1.2, nothing for NULL", "300b06092a864886f70d01010b", scheme{formPKCS1, crypto.SHA256, 0}, false},
		{"A.1.3 sha384WithRSAEncryption", "300d06092a864886f70d01010c0500", scheme{formPKCS1, crypto.SHA384, 0}, true},
		{"A.1.4 sha512WithRSAEncryption", "300d06092a864886f70d01010d0500", scheme{formPKCS1, crypto.SHA512, 0}, true},
		{"A.2.1 dsa-with-sha1", "300906072a8648ce380403", scheme{}, false},
		{"A.2.2 dsa-with-sha256", "300b0609608648016503040302", scheme{}, false},
		{"A.3.1 ecdsa-with-sha1", "300906072a8648ce3d0401", scheme{}, false},
		{"A.3.2 ecdsa-with-sha256", "300a06082a8648ce3d040302", scheme{formECDSA, crypto.SHA256, 0}, true},
		{"A.3.2, NULL for nothing", "300c06082a8648ce3d0403020500", scheme{formECDSA, crypto.SHA256, 0}, false},
		{"A.3.3 ecdsa-with-sha384", "300a06082a8648ce3d040303", scheme{formECDSA, crypto.SHA384, 0}, true},
		{"A.3.4 ecdsa-with-sha512", "300a06082a8648ce3d040304", scheme{formECDSA, crypto.SHA512, 0}, true},
		{"A.4.1 RSASSA-PSS, empty parameters: SHA-1", "300d06092a864886f70d01010a3000", scheme{}, false},
		{"A.4.2 RSASSA-PSS, default parameters: SHA-1", "303e06092a864886f70d01010a3031a00b300906052b0e03021a0500a118301606092a864886f70d010108300906052b0e03021a0500a203020114a303020101", scheme{}, false},
		{"A.4.3 RSASSA-PSS with SHA-256", "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020101", scheme{formPSS, crypto.SHA256, 32}, false},
		{"A.4.3 in DER, which leaves the default trailer out", sha256PSS, scheme{formPSS, crypto.SHA256, 32}, true},
		{"RFC 8420 A.1 Ed25519", "300506032b6570", scheme{form: formEd25519}, true},
		{"RFC 8420 A.2 Ed448", "300506032b6571", scheme{}, false},
		{"md5WithRSAEncryption", "300d06092a864886f70d0101040500", scheme{}, false},
		{"PSS without parameters", "300b06092a864886f70d01010a", scheme{}, false},
		{"PSS, mask with another hash", "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020120", scheme{}, false},
		{"PSS, a mask that is not MGF1", "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010109300d06096086480165030402010500a203020120", scheme{}, false},
		{"PSS, no salt, which crypto/rsa would read as any", "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020100", scheme{}, false},
		{"PSS, another trailer", "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020102", scheme{}, false},
		{"parameters that are not NULL", "300d06082a8648ce3d040302020105", scheme{}, false},
		{"octets behind", "300506032b657000", scheme{}, false},
		{"nothing", "", scheme{}, false},
	} {
		der := unhex(t, row.der)
		got, err := parseScheme(der)
		if got != row.want || (err == nil) != (row.want != scheme{}) {
			t.Errorf("%s: %+v, %v", row.section, got, err)
		}
		if row.mine && !bytes.Equal(row.want.identifier(), der) {
			t.Errorf("%s: we send %x", row.section, row.want.identifier())
		}
	}
}

// TestUnframe: no strict prefix of the algorithm is read, and the rest is the signature.
func TestUnframe(t *testing.T) {
	s := scheme{formPSS, crypto.SHA512, 64}
	data := s.frame([]byte("signature"))
	got, signature, err := unframe(data)
	if got != s || string(signature) != "signature" || err != nil {
		t.Errorf("%+v %q %v", got, signature, err)
	}
	for n := range len(data) - len("signature") {
		if _, _, err := unframe(data[:n]); err == nil {
			t.Errorf("%d octets were read", n)
		}
	}
}
