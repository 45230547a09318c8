package wire

import "strconv"

// ProtocolID is a security protocol (3.3.1).
type ProtocolID uint8

// Protocols, IANA "IKEv2 Security Protocol Identifiers".
const (
	ProtocolNone        ProtocolID = 0
	ProtocolIKE         ProtocolID = 1
	ProtocolAH          ProtocolID = 2
	ProtocolESP         ProtocolID = 3
	ProtocolFCESPHeader ProtocolID = 4
	ProtocolFCCTAuth    ProtocolID = 5
	ProtocolGIKEUpdate  ProtocolID = 6
)

// String returns the IANA name, or the number of an unassigned one.
func (p ProtocolID) String() string { return nameOf(protocolNames, p) }

var protocolNames = map[ProtocolID]string{
	ProtocolNone: "none", ProtocolIKE: "IKE", ProtocolAH: "AH", ProtocolESP: "ESP",
	ProtocolFCESPHeader: "FC_ESP_HEADER", ProtocolFCCTAuth: "FC_CT_AUTHENTICATION", ProtocolGIKEUpdate: "GIKE_UPDATE",
}

// TransformType says what a transform chooses (3.3.2).
type TransformType uint8

// Transform types, IANA "Transform Type Values".
const (
	TransformENCR   TransformType = 1 // encryption algorithm
	TransformPRF    TransformType = 2 // pseudorandom function
	TransformINTEG  TransformType = 3 // integrity algorithm
	TransformKE     TransformType = 4 // key exchange method
	TransformESN    TransformType = 5 // extended sequence numbers
	TransformADDKE1 TransformType = 6 // additional key exchanges, RFC 9370
	TransformADDKE2 TransformType = 7
	TransformADDKE3 TransformType = 8
	TransformADDKE4 TransformType = 9
	TransformADDKE5 TransformType = 10
	TransformADDKE6 TransformType = 11
	TransformADDKE7 TransformType = 12
	TransformKWA    TransformType = 13 // group key management
	TransformGCAUTH TransformType = 14
)

// String returns the short name, or the number of an unassigned type.
func (t TransformType) String() string { return nameOf(transformTypeNames, t) }

var transformTypeNames = map[TransformType]string{
	TransformENCR: "ENCR", TransformPRF: "PRF", TransformINTEG: "INTEG", TransformKE: "KE", TransformESN: "ESN",
	TransformADDKE1: "ADDKE1", TransformADDKE2: "ADDKE2", TransformADDKE3: "ADDKE3", TransformADDKE4: "ADDKE4",
	TransformADDKE5: "ADDKE5", TransformADDKE6: "ADDKE6", TransformADDKE7: "ADDKE7",
	TransformKWA: "KWA", TransformGCAUTH: "GCAUTH",
}

// TransformID is an algorithm within a transform type.
type TransformID uint16

// The transforms that have a meaning in this program. All others have a name.
const (
	ENCRAESCBC           TransformID = 12
	ENCRAESGCM16         TransformID = 20
	ENCRChaCha20Poly1305 TransformID = 28

	PRFHMACSHA256 TransformID = 5
	PRFHMACSHA384 TransformID = 6
	PRFHMACSHA512 TransformID = 7

	INTEGNone       TransformID = 0
	INTEGHMACSHA256 TransformID = 12 // truncated to 128 bits
	INTEGHMACSHA384 TransformID = 13 // truncated to 192 bits
	INTEGHMACSHA512 TransformID = 14 // truncated to 256 bits

	KENone     TransformID = 0
	KEMODP2048 TransformID = 14
	KEMODP3072 TransformID = 15
	KEMODP4096 TransformID = 16
	KEECP256   TransformID = 19
	KEECP384   TransformID = 20
	KEECP521   TransformID = 21
	KEX25519   TransformID = 31

	ESNNo  TransformID = 0
	ESNYes TransformID = 1
)

// Name returns the IANA name of the transform id of type t, or its number in
// decimal if it is unassigned.
func (t TransformType) Name(id TransformID) string {
	switch t {
	case TransformENCR:
		return nameOf(encrNames, id)
	case TransformPRF:
		return nameOf(prfNames, id)
	case TransformINTEG:
		return nameOf(integNames, id)
	case TransformKE, TransformADDKE1, TransformADDKE2, TransformADDKE3, TransformADDKE4,
		TransformADDKE5, TransformADDKE6, TransformADDKE7:
		return nameOf(keNames, id)
	case TransformESN:
		return nameOf(esnNames, id)
	case TransformKWA:
		return nameOf(kwaNames, id)
	case TransformGCAUTH:
		return nameOf(gcauthNames, id)
	}
	return strconv.Itoa(int(id))
}

var encrNames = map[TransformID]string{
	1:                    "ENCR_DES_IV64",
	2:                    "ENCR_DES",
	3:                    "ENCR_3DES",
	4:                    "ENCR_RC5",
	5:                    "ENCR_IDEA",
	6:                    "ENCR_CAST",
	7:                    "ENCR_BLOWFISH",
	8:                    "ENCR_3IDEA",
	9:                    "ENCR_DES_IV32",
	11:                   "ENCR_NULL",
	ENCRAESCBC:           "ENCR_AES_CBC",
	13:                   "ENCR_AES_CTR",
	14:                   "ENCR_AES_CCM_8",
	15:                   "ENCR_AES_CCM_12",
	16:                   "ENCR_AES_CCM_16",
	18:                   "ENCR_AES_GCM_8",
	19:                   "ENCR_AES_GCM_12",
	ENCRAESGCM16:         "ENCR_AES_GCM_16",
	21:                   "ENCR_NULL_AUTH_AES_GMAC",
	23:                   "ENCR_CAMELLIA_CBC",
	24:                   "ENCR_CAMELLIA_CTR",
	25:                   "ENCR_CAMELLIA_CCM_8",
	26:                   "ENCR_CAMELLIA_CCM_12",
	27:                   "ENCR_CAMELLIA_CCM_16",
	ENCRChaCha20Poly1305: "ENCR_CHACHA20_POLY1305",
	29:                   "ENCR_AES_CCM_8_IIV",
	30:                   "ENCR_AES_GCM_16_IIV",
	31:                   "ENCR_CHACHA20_POLY1305_IIV",
	32:                   "ENCR_KUZNYECHIK_MGM_KTREE",
	33:                   "ENCR_MAGMA_MGM_KTREE",
	34:                   "ENCR_KUZNYECHIK_MGM_MAC_KTREE",
	35:                   "ENCR_MAGMA_MGM_MAC_KTREE",
}

var prfNames = map[TransformID]string{
	1:             "PRF_HMAC_MD5",
	2:             "PRF_HMAC_SHA1",
	3:             "PRF_HMAC_TIGER",
	4:             "PRF_AES128_XCBC",
	PRFHMACSHA256: "PRF_HMAC_SHA2_256",
	PRFHMACSHA384: "PRF_HMAC_SHA2_384",
	PRFHMACSHA512: "PRF_HMAC_SHA2_512",
	8:             "PRF_AES128_CMAC",
	9:             "PRF_HMAC_STREEBOG_512",
}

var integNames = map[TransformID]string{
	INTEGNone:       "NONE",
	1:               "AUTH_HMAC_MD5_96",
	2:               "AUTH_HMAC_SHA1_96",
	3:               "AUTH_DES_MAC",
	4:               "AUTH_KPDK_MD5",
	5:               "AUTH_AES_XCBC_96",
	6:               "AUTH_HMAC_MD5_128",
	7:               "AUTH_HMAC_SHA1_160",
	8:               "AUTH_AES_CMAC_96",
	9:               "AUTH_AES_128_GMAC",
	10:              "AUTH_AES_192_GMAC",
	11:              "AUTH_AES_256_GMAC",
	INTEGHMACSHA256: "AUTH_HMAC_SHA2_256_128",
	INTEGHMACSHA384: "AUTH_HMAC_SHA2_384_192",
	INTEGHMACSHA512: "AUTH_HMAC_SHA2_512_256",
}

var keNames = map[TransformID]string{
	KENone:     "NONE",
	1:          "768-bit MODP Group",
	2:          "1024-bit MODP Group",
	5:          "1536-bit MODP Group",
	KEMODP2048: "2048-bit MODP Group",
	KEMODP3072: "3072-bit MODP Group",
	KEMODP4096: "4096-bit MODP Group",
	17:         "6144-bit MODP Group",
	18:         "8192-bit MODP Group",
	KEECP256:   "256-bit random ECP group",
	KEECP384:   "384-bit random ECP group",
	KEECP521:   "521-bit random ECP group",
	22:         "1024-bit MODP Group with 160-bit Prime Order Subgroup",
	23:         "2048-bit MODP Group with 224-bit Prime Order Subgroup",
	24:         "2048-bit MODP Group with 256-bit Prime Order Subgroup",
	25:         "192-bit Random ECP Group",
	26:         "224-bit Random ECP Group",
	27:         "brainpoolP224r1",
	28:         "brainpoolP256r1",
	29:         "brainpoolP384r1",
	30:         "brainpoolP512r1",
	KEX25519:   "Curve25519",
	32:         "Curve448",
	33:         "GOST3410_2012_256",
	34:         "GOST3410_2012_512",
	35:         "ml-kem-512",
	36:         "ml-kem-768",
	37:         "ml-kem-1024",
}

// The names of RFC 7296. RFC 9827 calls the type SN, Sequence Numbers, and the
// first two "32-bit Sequential Numbers" and "Partially Transmitted 64-bit
// Sequential Numbers".
var esnNames = map[TransformID]string{
	ESNNo:  "No Extended Sequence Numbers",
	ESNYes: "Extended Sequence Numbers",
	2:      "32-bit Unspecified Numbers",
}

var kwaNames = map[TransformID]string{
	1: "KW_5649_128",
	2: "KW_5649_192",
	3: "KW_5649_256",
	4: "KW_ARX",
}

var gcauthNames = map[TransformID]string{
	1: "Implicit",
	2: "Digital Signature",
}
