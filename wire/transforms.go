package wire

// TransformType is an IKEv2 transform type.
type TransformType uint8

const (
	TransformENCR   TransformType = 1
	TransformPRF    TransformType = 2
	TransformINTEG  TransformType = 3
	TransformKE     TransformType = 4
	TransformESN    TransformType = 5
	TransformADDKE1 TransformType = 6
	TransformADDKE7 TransformType = 12
)

func (t TransformType) String() string {
	return named(map[TransformType]string{
		1: "ENCR", 2: "PRF", 3: "INTEG", 4: "KE", 5: "ESN", 6: "ADDKE1", 7: "ADDKE2", 8: "ADDKE3", 9: "ADDKE4", 10: "ADDKE5", 11: "ADDKE6", 12: "ADDKE7",
	}, t)
}

// TransformID is a transform of its TransformType.
type TransformID uint16

const (
	ENCRDES              TransformID = 2
	ENCR3DES             TransformID = 3
	ENCRNull             TransformID = 11
	ENCRAESCBC           TransformID = 12
	ENCRAESCTR           TransformID = 13
	ENCRAESCCM8          TransformID = 14
	ENCRAESCCM16         TransformID = 16
	ENCRAESGCM8          TransformID = 18
	ENCRAESGCM12         TransformID = 19
	ENCRAESGCM16         TransformID = 20
	ENCRChaCha20Poly1305 TransformID = 28

	PRFHMACMD5    TransformID = 1
	PRFHMACSHA1   TransformID = 2
	PRFHMACSHA256 TransformID = 5
	PRFHMACSHA384 TransformID = 6
	PRFHMACSHA512 TransformID = 7

	INTEGNone       TransformID = 0
	INTEGHMACMD5    TransformID = 1
	INTEGHMACSHA1   TransformID = 2
	INTEGHMACSHA256 TransformID = 12
	INTEGHMACSHA384 TransformID = 13
	INTEGHMACSHA512 TransformID = 14

	KENone     TransformID = 0
	KEMODP768  TransformID = 1
	KEMODP1024 TransformID = 2
	KEMODP1536 TransformID = 5
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

// Name is the transform's name in the IANA registry of its type.
func (t TransformType) Name(id TransformID) string {
	switch {
	case t == TransformENCR:
		return named(encrNames, id)
	case t == TransformPRF:
		return named(prfNames, id)
	case t == TransformINTEG:
		return named(integNames, id)
	case t == TransformKE || t >= TransformADDKE1 && t <= TransformADDKE7:
		return named(keNames, id)
	case t == TransformESN:
		return named(map[TransformID]string{0: "No Extended Sequence Numbers", 1: "Extended Sequence Numbers"}, id)
	}
	return decimal(int(id))
}

var encrNames = map[TransformID]string{
	1: "ENCR_DES_IV64", 2: "ENCR_DES", 3: "ENCR_3DES", 4: "ENCR_RC5", 5: "ENCR_IDEA", 6: "ENCR_CAST", 7: "ENCR_BLOWFISH", 8: "ENCR_3IDEA",
	9: "ENCR_DES_IV32", 11: "ENCR_NULL", 12: "ENCR_AES_CBC", 13: "ENCR_AES_CTR", 14: "ENCR_AES_CCM_8", 15: "ENCR_AES_CCM_12", 16: "ENCR_AES_CCM_16",
	18: "ENCR_AES_GCM_8", 19: "ENCR_AES_GCM_12", 20: "ENCR_AES_GCM_16", 21: "ENCR_NULL_AUTH_AES_GMAC", 23: "ENCR_CAMELLIA_CBC", 24: "ENCR_CAMELLIA_CTR",
	25: "ENCR_CAMELLIA_CCM_8", 26: "ENCR_CAMELLIA_CCM_12", 27: "ENCR_CAMELLIA_CCM_16", 28: "ENCR_CHACHA20_POLY1305", 29: "ENCR_AES_CCM_8_IIV",
	30: "ENCR_AES_GCM_16_IIV", 31: "ENCR_CHACHA20_POLY1305_IIV", 32: "ENCR_KUZNYECHIK_MGM_KTREE", 33: "ENCR_MAGMA_MGM_KTREE",
	34: "ENCR_KUZNYECHIK_MGM_MAC_KTREE", 35: "ENCR_MAGMA_MGM_MAC_KTREE",
}

var prfNames = map[TransformID]string{
	1: "PRF_HMAC_MD5", 2: "PRF_HMAC_SHA1", 3: "PRF_HMAC_TIGER", 4: "PRF_AES128_XCBC", 5: "PRF_HMAC_SHA2_256", 6: "PRF_HMAC_SHA2_384",
	7: "PRF_HMAC_SHA2_512", 8: "PRF_AES128_CMAC", 9: "PRF_HMAC_STREEBOG_512",
}

var integNames = map[TransformID]string{
	0: "NONE", 1: "AUTH_HMAC_MD5_96", 2: "AUTH_HMAC_SHA1_96", 3: "AUTH_DES_MAC", 4: "AUTH_KPDK_MD5", 5: "AUTH_AES_XCBC_96", 6: "AUTH_HMAC_MD5_128",
	7: "AUTH_HMAC_SHA1_160", 8: "AUTH_AES_CMAC_96", 9: "AUTH_AES_128_GMAC", 10: "AUTH_AES_192_GMAC", 11: "AUTH_AES_256_GMAC",
	12: "AUTH_HMAC_SHA2_256_128", 13: "AUTH_HMAC_SHA2_384_192", 14: "AUTH_HMAC_SHA2_512_256",
}

var keNames = map[TransformID]string{
	0: "NONE", 1: "768-bit MODP Group", 2: "1024-bit MODP Group", 5: "1536-bit MODP Group", 14: "2048-bit MODP Group", 15: "3072-bit MODP Group",
	16: "4096-bit MODP Group", 17: "6144-bit MODP Group", 18: "8192-bit MODP Group", 19: "256-bit random ECP group", 20: "384-bit random ECP group",
	21: "521-bit random ECP group", 22: "1024-bit MODP Group with 160-bit Prime Order Subgroup", 23: "2048-bit MODP Group with 224-bit Prime Order Subgroup",
	24: "2048-bit MODP Group with 256-bit Prime Order Subgroup", 25: "192-bit Random ECP Group", 26: "224-bit Random ECP Group", 27: "brainpoolP224r1",
	28: "brainpoolP256r1", 29: "brainpoolP384r1", 30: "brainpoolP512r1", 31: "Curve25519", 32: "Curve448", 33: "GOST3410_2012_256", 34: "GOST3410_2012_512",
	35: "ml-kem-512", 36: "ml-kem-768", 37: "ml-kem-1024",
}
