package wire

import "strconv"

func decimal(n int) string { return strconv.Itoa(n) }

// named is the registry's name, or the number.
func named[T ~uint8 | ~uint16](names map[T]string, v T) string {
	if s, ok := names[v]; ok {
		return s
	}
	return decimal(int(v))
}

// ExchangeType is an IKEv2 exchange type.
type ExchangeType uint8

const (
	ExchangeIKESAInit       ExchangeType = 34
	ExchangeIKEAuth         ExchangeType = 35
	ExchangeCreateChildSA   ExchangeType = 36
	ExchangeInformational   ExchangeType = 37
	ExchangeSessionResume   ExchangeType = 38 // RFC 5723
	ExchangeGSAAuth         ExchangeType = 39
	ExchangeGSARegistration ExchangeType = 40
	ExchangeGSARekey        ExchangeType = 41
	ExchangeGSAInbandRekey  ExchangeType = 42
	ExchangeIntermediate    ExchangeType = 43 // RFC 9242
	ExchangeFollowupKE      ExchangeType = 44 // RFC 9370
)

var exchangeNames = map[ExchangeType]string{
	34: "IKE_SA_INIT", 35: "IKE_AUTH", 36: "CREATE_CHILD_SA", 37: "INFORMATIONAL", 38: "IKE_SESSION_RESUME",
	39: "GSA_AUTH", 40: "GSA_REGISTRATION", 41: "GSA_REKEY", 42: "GSA_INBAND_REKEY", 43: "IKE_INTERMEDIATE", 44: "IKE_FOLLOWUP_KE",
}

func (x ExchangeType) String() string { return named(exchangeNames, x) }

// PayloadType is an IKEv2 payload type.
type PayloadType uint8

const (
	PayloadNone     PayloadType = 0
	PayloadSA       PayloadType = 33
	PayloadKE       PayloadType = 34
	PayloadIDi      PayloadType = 35
	PayloadIDr      PayloadType = 36
	PayloadCERT     PayloadType = 37
	PayloadCERTREQ  PayloadType = 38
	PayloadAUTH     PayloadType = 39
	PayloadNonce    PayloadType = 40
	PayloadNotify   PayloadType = 41
	PayloadDelete   PayloadType = 42
	PayloadVendorID PayloadType = 43
	PayloadTSi      PayloadType = 44
	PayloadTSr      PayloadType = 45
	PayloadSK       PayloadType = 46
	PayloadCP       PayloadType = 47
	PayloadEAP      PayloadType = 48
	PayloadSKF      PayloadType = 53 // RFC 7383
)

var payloadNames = map[PayloadType]string{
	0: "NO", 33: "SA", 34: "KE", 35: "IDi", 36: "IDr", 37: "CERT", 38: "CERTREQ", 39: "AUTH", 40: "Ni/Nr", 41: "N", 42: "D", 43: "V",
	44: "TSi", 45: "TSr", 46: "SK", 47: "CP", 48: "EAP", 49: "GSPM", 50: "IDg", 51: "GSA", 52: "KD", 53: "SKF", 54: "PS",
}

func (t PayloadType) String() string { return named(payloadNames, t) }

// ProtocolID is an IKEv2 security protocol identifier.
type ProtocolID uint8

const (
	ProtocolNone ProtocolID = 0
	ProtocolIKE  ProtocolID = 1
	ProtocolAH   ProtocolID = 2
	ProtocolESP  ProtocolID = 3
)

func (p ProtocolID) String() string {
	return named(map[ProtocolID]string{0: "NONE", 1: "IKE", 2: "AH", 3: "ESP", 4: "FC_ESP_HEADER", 5: "FC_CT_AUTHENTICATION", 6: "GIKE_UPDATE"}, p)
}

// IDType is an IKEv2 identification payload ID type.
type IDType uint8

const (
	IDIPv4Addr   IDType = 1
	IDFQDN       IDType = 2
	IDRFC822Addr IDType = 3
	IDIPv6Addr   IDType = 5
	IDDERASN1DN  IDType = 9
	IDDERASN1GN  IDType = 10
	IDKeyID      IDType = 11
	IDFCName     IDType = 12
	IDNull       IDType = 13
)

func (t IDType) String() string {
	return named(map[IDType]string{1: "ID_IPV4_ADDR", 2: "ID_FQDN", 3: "ID_RFC822_ADDR", 5: "ID_IPV6_ADDR", 9: "ID_DER_ASN1_DN", 10: "ID_DER_ASN1_GN", 11: "ID_KEY_ID", 12: "ID_FC_NAME", 13: "ID_NULL"}, t)
}

// CertEncoding is an IKEv2 certificate encoding.
type CertEncoding uint8

const (
	CertX509Signature CertEncoding = 4
	CertHashURL       CertEncoding = 12
)

func (c CertEncoding) String() string {
	return named(map[CertEncoding]string{
		1: "PKCS #7 wrapped X.509 certificate", 2: "PGP Certificate", 3: "DNS Signed Key", 4: "X.509 Certificate - Signature", 6: "Kerberos Token",
		7: "Certificate Revocation List (CRL)", 8: "Authority Revocation List (ARL)", 9: "SPKI Certificate", 10: "X.509 Certificate - Attribute",
		11: "Deprecated (was Raw RSA Key)", 12: "Hash and URL of X.509 certificate", 13: "Hash and URL of X.509 bundle", 14: "OCSP Content", 15: "Raw Public Key",
	}, c)
}

// AuthMethod is an IKEv2 authentication method.
type AuthMethod uint8

const (
	AuthRSA       AuthMethod = 1
	AuthSharedKey AuthMethod = 2
	AuthDSS       AuthMethod = 3
	AuthECDSA256  AuthMethod = 9
	AuthECDSA384  AuthMethod = 10
	AuthECDSA521  AuthMethod = 11
	AuthGSPAM     AuthMethod = 12
	AuthNull      AuthMethod = 13
	AuthSignature AuthMethod = 14 // RFC 7427
)

func (m AuthMethod) String() string {
	return named(map[AuthMethod]string{
		1: "RSA Digital Signature", 2: "Shared Key Message Integrity Code", 3: "DSS Digital Signature",
		9: "ECDSA with SHA-256 on the P-256 curve", 10: "ECDSA with SHA-384 on the P-384 curve", 11: "ECDSA with SHA-512 on the P-521 curve",
		12: "Generic Secure Password Authentication Method", 13: "NULL Authentication", 14: "Digital Signature",
	}, m)
}

// TSType is an IKEv2 traffic selector type.
type TSType uint8

const (
	TSIPv4AddrRange TSType = 7
	TSIPv6AddrRange TSType = 8
)

func (t TSType) String() string {
	return named(map[TSType]string{7: "TS_IPV4_ADDR_RANGE", 8: "TS_IPV6_ADDR_RANGE", 9: "TS_FC_ADDR_RANGE", 10: "TS_SECLABEL"}, t)
}

// CFGType is an IKEv2 configuration payload CFG type.
type CFGType uint8

const (
	CFGRequest CFGType = 1
	CFGReply   CFGType = 2
	CFGSet     CFGType = 3
	CFGAck     CFGType = 4
)

func (t CFGType) String() string {
	return named(map[CFGType]string{1: "CFG_REQUEST", 2: "CFG_REPLY", 3: "CFG_SET", 4: "CFG_ACK"}, t)
}

// CPAttributeType is an IKEv2 configuration payload attribute type.
type CPAttributeType uint16

const (
	CPInternalIP4Address  CPAttributeType = 1
	CPInternalIP4Netmask  CPAttributeType = 2
	CPInternalIP4DNS      CPAttributeType = 3
	CPInternalIP4NBNS     CPAttributeType = 4
	CPInternalIP4DHCP     CPAttributeType = 6
	CPApplicationVersion  CPAttributeType = 7
	CPInternalIP6Address  CPAttributeType = 8
	CPInternalIP6DNS      CPAttributeType = 10
	CPInternalIP6DHCP     CPAttributeType = 12
	CPInternalIP4Subnet   CPAttributeType = 13
	CPSupportedAttributes CPAttributeType = 14
	CPInternalIP6Subnet   CPAttributeType = 15
	CPInternalDNSDomain   CPAttributeType = 25
)

func (t CPAttributeType) String() string {
	return named(map[CPAttributeType]string{
		1: "INTERNAL_IP4_ADDRESS", 2: "INTERNAL_IP4_NETMASK", 3: "INTERNAL_IP4_DNS", 4: "INTERNAL_IP4_NBNS", 6: "INTERNAL_IP4_DHCP",
		7: "APPLICATION_VERSION", 8: "INTERNAL_IP6_ADDRESS", 10: "INTERNAL_IP6_DNS", 12: "INTERNAL_IP6_DHCP", 13: "INTERNAL_IP4_SUBNET",
		14: "SUPPORTED_ATTRIBUTES", 15: "INTERNAL_IP6_SUBNET", 16: "MIP6_HOME_PREFIX", 17: "INTERNAL_IP6_LINK", 18: "INTERNAL_IP6_PREFIX",
		19: "HOME_AGENT_ADDRESS", 20: "P_CSCF_IP4_ADDRESS", 21: "P_CSCF_IP6_ADDRESS", 22: "FTT_KAT", 23: "EXTERNAL_SOURCE_IP4_NAT_INFO",
		24: "TIMEOUT_PERIOD_FOR_LIVENESS_CHECK", 25: "INTERNAL_DNS_DOMAIN", 26: "INTERNAL_DNSSEC_TA", 27: "ENCDNS_IP4", 28: "ENCDNS_IP6", 29: "ENCDNS_DIGEST_INFO",
	}, t)
}
