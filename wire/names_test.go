package wire

import (
	"fmt"
	"testing"
)

// Names as the registry "IKEv2 Parameters" prints them; the RFC is the one that
// registered the number.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		rfc   string
		value fmt.Stringer
		want  string
	}{
		{"7296 3.1", ExchangeType(34), "IKE_SA_INIT"},
		{"7296 3.1", ExchangeType(35), "IKE_AUTH"},
		{"7296 3.1", ExchangeType(36), "CREATE_CHILD_SA"},
		{"7296 3.1", ExchangeType(37), "INFORMATIONAL"},
		{"5723 8", ExchangeType(38), "IKE_SESSION_RESUME"},
		{"9242 6", ExchangeType(43), "IKE_INTERMEDIATE"},
		{"9370", ExchangeType(44), "IKE_FOLLOWUP_KE"},
		{"unassigned", ExchangeType(33), "33"},
		{"private", ExchangeType(240), "240"},

		{"7296 3.2", PayloadType(33), "SA"},
		{"7296 3.2", PayloadType(35), "IDi"},
		{"7296 3.2", PayloadType(38), "CERTREQ"},
		{"7296 3.2", PayloadType(40), "Ni/Nr"},
		{"7296 3.2", PayloadType(43), "V"},
		{"7296 3.2", PayloadType(46), "SK"},
		{"7296 3.2", PayloadType(48), "EAP"},
		{"6467", PayloadType(49), "GSPM"},
		{"7383 6", PayloadType(53), "SKF"},
		{"8019 11", PayloadType(54), "PS"},
		{"unassigned", PayloadType(127), "127"},

		{"7296 3.3.1", ProtocolID(1), "IKE"},
		{"7296 3.3.1", ProtocolID(2), "AH"},
		{"7296 3.3.1", ProtocolID(3), "ESP"},
		{"unassigned", ProtocolID(200), "200"},

		{"7296 3.3.2", TransformType(1), "ENCR"},
		{"7296 3.3.2", TransformType(5), "ESN"},
		{"9370", TransformType(6), "ADDKE1"},
		{"9370", TransformType(12), "ADDKE7"},
		{"unassigned", TransformType(99), "99"},

		{"7296 3.5", IDType(1), "ID_IPV4_ADDR"},
		{"7296 3.5", IDType(2), "ID_FQDN"},
		{"7296 3.5", IDType(3), "ID_RFC822_ADDR"},
		{"7296 3.5", IDType(5), "ID_IPV6_ADDR"},
		{"7296 3.5", IDType(9), "ID_DER_ASN1_DN"},
		{"7296 3.5", IDType(11), "ID_KEY_ID"},
		{"7619 4", IDType(13), "ID_NULL"},
		{"reserved", IDType(4), "4"},

		{"7296 3.6", CertEncoding(1), "PKCS #7 wrapped X.509 certificate"},
		{"7296 3.6", CertEncoding(4), "X.509 Certificate - Signature"},
		{"7296 3.6", CertEncoding(7), "Certificate Revocation List (CRL)"},
		{"7296 3.6", CertEncoding(12), "Hash and URL of X.509 certificate"},
		{"7670 5", CertEncoding(15), "Raw Public Key"},
		{"reserved", CertEncoding(0), "0"},

		{"7296 3.8", AuthMethod(1), "RSA Digital Signature"},
		{"7296 3.8", AuthMethod(2), "Shared Key Message Integrity Code"},
		{"4754 6", AuthMethod(9), "ECDSA with SHA-256 on the P-256 curve"},
		{"4754 6", AuthMethod(10), "ECDSA with SHA-384 on the P-384 curve"},
		{"4754 6", AuthMethod(11), "ECDSA with SHA-512 on the P-521 curve"},
		{"7619 4", AuthMethod(13), "NULL Authentication"},
		{"7427 7", AuthMethod(14), "Digital Signature"},
		{"unassigned", AuthMethod(4), "4"},

		{"7296 3.13.1", TSType(7), "TS_IPV4_ADDR_RANGE"},
		{"7296 3.13.1", TSType(8), "TS_IPV6_ADDR_RANGE"},
		{"unassigned", TSType(0), "0"},

		{"7296 3.15", CFGType(1), "CFG_REQUEST"},
		{"7296 3.15", CFGType(2), "CFG_REPLY"},
		{"7296 3.15", CFGType(3), "CFG_SET"},
		{"7296 3.15", CFGType(4), "CFG_ACK"},
		{"unassigned", CFGType(5), "5"},

		{"7296 3.15.1", CPAttributeType(1), "INTERNAL_IP4_ADDRESS"},
		{"7296 3.15.1", CPAttributeType(3), "INTERNAL_IP4_DNS"},
		{"7296 3.15.1", CPAttributeType(8), "INTERNAL_IP6_ADDRESS"},
		{"7296 3.15.1", CPAttributeType(14), "SUPPORTED_ATTRIBUTES"},
		{"5739 6", CPAttributeType(18), "INTERNAL_IP6_PREFIX"},
		{"8598 7", CPAttributeType(25), "INTERNAL_DNS_DOMAIN"},
		{"reserved", CPAttributeType(5), "5"},

		{"3748 4", EAPCode(1), "Request"},
		{"3748 4", EAPCode(4), "Failure"},
		{"3748 4", EAPCode(5), "5"},
	} {
		if got := c.value.String(); got != c.want {
			t.Errorf("RFC %s: %T %[2]d is %q, want %q", c.rfc, c.value, got, c.want)
		}
	}
}

func TestTransformNames(t *testing.T) {
	for _, c := range []struct {
		rfc  string
		kind TransformType
		id   TransformID
		want string
	}{
		{"7296 3.3.2", TransformENCR, 3, "ENCR_3DES"},
		{"7296 3.3.2", TransformENCR, 11, "ENCR_NULL"},
		{"7296 3.3.2", TransformENCR, 12, "ENCR_AES_CBC"},
		{"5282 12", TransformENCR, 16, "ENCR_AES_CCM_16"},
		{"5282 12", TransformENCR, 20, "ENCR_AES_GCM_16"},
		{"7634 6", TransformENCR, 28, "ENCR_CHACHA20_POLY1305"},
		{"8750", TransformENCR, 30, "ENCR_AES_GCM_16_IIV"},
		{"unassigned", TransformENCR, 10, "10"},
		{"7296 3.3.2", TransformPRF, 2, "PRF_HMAC_SHA1"},
		{"4868 4", TransformPRF, 5, "PRF_HMAC_SHA2_256"},
		{"4868 4", TransformPRF, 7, "PRF_HMAC_SHA2_512"},
		{"unassigned", TransformPRF, 0, "0"},
		{"7296 3.3.2", TransformINTEG, 0, "NONE"},
		{"7296 3.3.2", TransformINTEG, 2, "AUTH_HMAC_SHA1_96"},
		{"4868 4", TransformINTEG, 12, "AUTH_HMAC_SHA2_256_128"},
		{"4868 4", TransformINTEG, 14, "AUTH_HMAC_SHA2_512_256"},
		{"7296 3.3.2", TransformKE, 0, "NONE"},
		{"3526 3", TransformKE, 14, "2048-bit MODP Group"},
		{"5903 6", TransformKE, 19, "256-bit random ECP group"},
		{"8031 5", TransformKE, 31, "Curve25519"},
		{"9370", TransformADDKE1, 31, "Curve25519"},
		{"9370", TransformADDKE7, 36, "ml-kem-768"},
		{"7296 3.3.2", TransformESN, 0, "No Extended Sequence Numbers"},
		{"7296 3.3.2", TransformESN, 1, "Extended Sequence Numbers"},
		{"unknown type", TransformType(99), 12, "12"},
	} {
		if got := c.kind.Name(c.id); got != c.want {
			t.Errorf("RFC %s: %v %d is %q, want %q", c.rfc, c.kind, c.id, got, c.want)
		}
	}
}

func TestNotifyNames(t *testing.T) {
	for _, c := range []struct {
		rfc   string
		value NotifyType
		want  string
		error bool
	}{
		{"7296 3.10.1", 1, "UNSUPPORTED_CRITICAL_PAYLOAD", true},
		{"7296 3.10.1", 4, "INVALID_IKE_SPI", true},
		{"7296 3.10.1", 17, "INVALID_KE_PAYLOAD", true},
		{"7296 3.10.1", 24, "AUTHENTICATION_FAILED", true},
		{"4555 6", 40, "UNACCEPTABLE_ADDRESSES", true},
		{"7296 3.10.1", 44, "CHILD_SA_NOT_FOUND", true},
		{"9370", 47, "STATE_NOT_FOUND", true},
		{"reserved", 0, "0", true},
		{"unassigned", 16383, "16383", true},
		{"7296 3.10.1", 16384, "INITIAL_CONTACT", false},
		{"7296 3.10.1", 16390, "COOKIE", false},
		{"7296 3.10.1", 16395, "NON_FIRST_FRAGMENTS_ALSO", false},
		{"4555 6", 16396, "MOBIKE_SUPPORTED", false},
		{"4478 6", 16403, "AUTH_LIFETIME", false},
		{"5685 12", 16407, "REDIRECT", false},
		{"5723 8", 16409, "TICKET_LT_OPAQUE", false},
		{"5723 8", 16410, "TICKET_REQUEST", false},
		{"5723 8", 16411, "TICKET_ACK", false},
		{"5723 8", 16412, "TICKET_NACK", false},
		{"5723 8", 16413, "TICKET_OPAQUE", false},
		{"5998 5", 16417, "EAP_ONLY_AUTHENTICATION", false},
		{"6023 7", 16418, "CHILDLESS_IKEV2_SUPPORTED", false},
		{"6290 10", 16419, "QCD_TOKEN", false},
		{"6311 12", 16423, "IPSEC_REPLAY_COUNTER_SYNC", false},
		{"7383 6", 16430, "IKEV2_FRAGMENTATION_SUPPORTED", false},
		{"7427 7", 16431, "SIGNATURE_HASH_ALGORITHMS", false},
		{"8019 11", 16434, "PUZZLE", false},
		{"8784 7", 16435, "USE_PPK", false},
		{"8784 7", 16437, "NO_PPK_AUTH", false},
		{"9242 6", 16438, "INTERMEDIATE_EXCHANGE_SUPPORTED", false},
		{"8983 7", 16440, "IP6_ALLOWED", false},
		{"9370", 16441, "ADDITIONAL_KEY_EXCHANGE", false},
		{"unassigned", 40959, "40959", false},
		{"private", 65535, "65535", false},
	} {
		if got := c.value.String(); got != c.want {
			t.Errorf("RFC %s: notify %d is %q, want %q", c.rfc, uint16(c.value), got, c.want)
		}
		if got := c.value.IsError(); got != c.error {
			t.Errorf("RFC %s: %v: IsError %v", c.rfc, c.value, got)
		}
	}
}

// A name stands for one number: a copied line in a table would show here.
func TestNamesAreUnique(t *testing.T) {
	unique(t, "exchange", exchangeNames)
	unique(t, "payload", payloadNames)
	unique(t, "protocol", protocolNames)
	unique(t, "transform type", transformTypeNames)
	unique(t, "ENCR", encrNames)
	unique(t, "PRF", prfNames)
	unique(t, "INTEG", integNames)
	unique(t, "KE", keNames)
	unique(t, "ID", idNames)
	unique(t, "certificate", certNames)
	unique(t, "AUTH", authNames)
	unique(t, "TS", tsNames)
	unique(t, "CFG", cfgNames)
	unique(t, "attribute", cpNames)
	unique(t, "notify", notifyNames)
}

func unique[T comparable](t *testing.T, registry string, names map[T]string) {
	t.Helper()
	seen := map[string]T{}
	for v, name := range names {
		if other, ok := seen[name]; ok {
			t.Errorf("%s: %q is %v and %v", registry, name, v, other)
		}
		seen[name] = v
		if name == "" || !oneLine(name) {
			t.Errorf("%s %v is named %q", registry, v, name)
		}
	}
}
