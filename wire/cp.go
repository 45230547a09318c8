package wire

import (
	"encoding/binary"
	"iter"
)

// CFGType is the kind of a Configuration payload (3.15).
type CFGType uint8

// Configuration types, IANA "IKEv2 Configuration Payload CFG Types".
const (
	CFGRequest CFGType = 1
	CFGReply   CFGType = 2
	CFGSet     CFGType = 3
	CFGAck     CFGType = 4
)

// String returns the IANA name, or the number of an unassigned one.
func (t CFGType) String() string { return nameOf(cfgNames, t) }

var cfgNames = map[CFGType]string{
	CFGRequest: "CFG_REQUEST", CFGReply: "CFG_REPLY", CFGSet: "CFG_SET", CFGAck: "CFG_ACK",
}

// CPAttributeType is the kind of a configuration attribute, 15 bits (3.15.1).
type CPAttributeType uint16

// Configuration attributes, IANA "IKEv2 Configuration Payload Attribute Types".
const (
	CPInternalIP4Address    CPAttributeType = 1  // 0 or 4 octets
	CPInternalIP4Netmask    CPAttributeType = 2  // 0 or 4
	CPInternalIP4DNS        CPAttributeType = 3  // 0 or 4
	CPInternalIP4NBNS       CPAttributeType = 4  // 0 or 4
	CPInternalIP4DHCP       CPAttributeType = 6  // 0 or 4
	CPApplicationVersion    CPAttributeType = 7  // text
	CPInternalIP6Address    CPAttributeType = 8  // 0, or address and prefix length: 17
	CPInternalIP6DNS        CPAttributeType = 10 // 0 or 16
	CPInternalIP6DHCP       CPAttributeType = 12 // 0 or 16
	CPInternalIP4Subnet     CPAttributeType = 13 // 0, or address and mask: 8
	CPSupportedAttributes   CPAttributeType = 14 // two octets each
	CPInternalIP6Subnet     CPAttributeType = 15 // 17
	CPMIP6HomePrefix        CPAttributeType = 16 // RFC 5026
	CPInternalIP6Link       CPAttributeType = 17 // RFC 5739
	CPInternalIP6Prefix     CPAttributeType = 18 // RFC 5739
	CPHomeAgentAddress      CPAttributeType = 19
	CPPCSCFIP4Address       CPAttributeType = 20 // RFC 7651
	CPPCSCFIP6Address       CPAttributeType = 21 // RFC 7651
	CPFTTKAT                CPAttributeType = 22
	CPExternalSourceIP4NAT  CPAttributeType = 23
	CPTimeoutPeriodLiveness CPAttributeType = 24
	CPInternalDNSDomain     CPAttributeType = 25 // RFC 8598
	CPInternalDNSSECTA      CPAttributeType = 26 // RFC 8598
	CPEncDNSIP4             CPAttributeType = 27 // RFC 9464
	CPEncDNSIP6             CPAttributeType = 28 // RFC 9464
	CPEncDNSDigestInfo      CPAttributeType = 29 // RFC 9464
)

// String returns the IANA name, or the number of an unassigned one.
func (t CPAttributeType) String() string { return nameOf(cpNames, t) }

var cpNames = map[CPAttributeType]string{
	CPInternalIP4Address:    "INTERNAL_IP4_ADDRESS",
	CPInternalIP4Netmask:    "INTERNAL_IP4_NETMASK",
	CPInternalIP4DNS:        "INTERNAL_IP4_DNS",
	CPInternalIP4NBNS:       "INTERNAL_IP4_NBNS",
	CPInternalIP4DHCP:       "INTERNAL_IP4_DHCP",
	CPApplicationVersion:    "APPLICATION_VERSION",
	CPInternalIP6Address:    "INTERNAL_IP6_ADDRESS",
	CPInternalIP6DNS:        "INTERNAL_IP6_DNS",
	CPInternalIP6DHCP:       "INTERNAL_IP6_DHCP",
	CPInternalIP4Subnet:     "INTERNAL_IP4_SUBNET",
	CPSupportedAttributes:   "SUPPORTED_ATTRIBUTES",
	CPInternalIP6Subnet:     "INTERNAL_IP6_SUBNET",
	CPMIP6HomePrefix:        "MIP6_HOME_PREFIX",
	CPInternalIP6Link:       "INTERNAL_IP6_LINK",
	CPInternalIP6Prefix:     "INTERNAL_IP6_PREFIX",
	CPHomeAgentAddress:      "HOME_AGENT_ADDRESS",
	CPPCSCFIP4Address:       "P_CSCF_IP4_ADDRESS",
	CPPCSCFIP6Address:       "P_CSCF_IP6_ADDRESS",
	CPFTTKAT:                "FTT_KAT",
	CPExternalSourceIP4NAT:  "EXTERNAL_SOURCE_IP4_NAT_INFO",
	CPTimeoutPeriodLiveness: "TIMEOUT_PERIOD_FOR_LIVENESS_CHECK",
	CPInternalDNSDomain:     "INTERNAL_DNS_DOMAIN",
	CPInternalDNSSECTA:      "INTERNAL_DNSSEC_TA",
	CPEncDNSIP4:             "ENCDNS_IP4",
	CPEncDNSIP6:             "ENCDNS_IP6",
	CPEncDNSDigestInfo:      "ENCDNS_DIGEST_INFO",
}

// CPAttribute is one configuration attribute.
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|R|         Attribute Type      |            Length             |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                             Value                             ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type CPAttribute struct {
	Type  CPAttributeType
	Value []byte // empty in a request: "give me one"; its size is not checked here
}

// CP is a view of a Configuration payload that ParseCP has checked (3.15).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|   CFG Type    |                  RESERVED                     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                   Configuration Attributes                    ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type CP struct {
	Type       CFGType
	attributes []byte
}

// ParseCP checks a Configuration body to its last octet and views it. Error:
// ErrShort.
func ParseCP(body []byte) (CP, error) {
	if len(body) < 4 {
		return CP{}, ErrShort
	}
	for b := body[4:]; len(b) != 0; {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			return CP{}, ErrShort
		}
		_, n := readCPAttribute(b)
		b = b[n:]
	}
	return CP{CFGType(body[0]), body[4:]}, nil
}

// readCPAttribute reads the first attribute of b, checked before, and its size.
func readCPAttribute(b []byte) (CPAttribute, int) {
	n := 4 + int(binary.BigEndian.Uint16(b[2:]))
	return CPAttribute{CPAttributeType(binary.BigEndian.Uint16(b) & 0x7fff), b[4:n:n]}, n
}

// Attributes ranges over the attributes in the order of the payload.
func (c CP) Attributes() iter.Seq[CPAttribute] {
	return func(yield func(CPAttribute) bool) {
		for b := c.attributes; len(b) != 0; {
			a, n := readCPAttribute(b)
			if !yield(a) {
				return
			}
			b = b[n:]
		}
	}
}

// AppendCP appends a Configuration body.
func AppendCP(b []byte, cfg CFGType, attributes []CPAttribute) []byte {
	b = append(b, byte(cfg), 0, 0, 0)
	for _, a := range attributes {
		b = binary.BigEndian.AppendUint16(b, uint16(a.Type)&0x7fff)
		b = binary.BigEndian.AppendUint16(b, word(len(a.Value)))
		b = append(b, a.Value...)
	}
	return b
}
