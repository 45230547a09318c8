package wire

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
)

// Each parser against bodies written down from the pictures of section 3.
func TestBodies(t *testing.T) {
	nonce := bytes.Repeat([]byte{7}, 16)
	tests := []struct {
		section string
		kind    PayloadType
		body    string
		parse   func([]byte) (any, error)
		want    any
	}{
		{"3.4", PayloadKE, "001f 0000 aabbcc", to(ParseKE), KE{KEX25519, []byte{0xaa, 0xbb, 0xcc}}},
		{"3.5", PayloadIDi, "02 000000 6777", to(ParseID), ID{IDFQDN, []byte("gw")}},
		{"3.5", PayloadIDr, "01 000000 0a000001", to(ParseID), ID{IDIPv4Addr, []byte{10, 0, 0, 1}}},
		{"3.5", PayloadIDr, "05 000000 20010db8000000000000000000000001", to(ParseID), ID{IDIPv6Addr, unhex(t, "20010db8000000000000000000000001")}},
		{"7619 2.2", PayloadIDi, "0d 000000", to(ParseID), ID{IDNull, []byte{}}},
		{"3.6", PayloadCERT, "0b 30", to(ParseCert), Cert{CertRawRSAKey, []byte{0x30}}},
		{"3.6", PayloadCERT, "04 3082", to(ParseCert), Cert{CertX509Signature, []byte{0x30, 0x82}}},
		{"3.7", PayloadCERTREQ, "04", to(ParseCertReq), CertReq{CertX509Signature, []byte{}}},
		{"3.7", PayloadCERTREQ, "0c 0102030405060708090a0b0c0d0e0f1011121314", to(ParseCertReq),
			CertReq{CertHashURL, unhex(t, "0102030405060708090a0b0c0d0e0f1011121314")}},
		{"3.8", PayloadAUTH, "02 000000 aabb", to(ParseAuth), Auth{AuthSharedKey, []byte{0xaa, 0xbb}}},
		{"3.9", PayloadNonce, "07070707070707070707070707070707", to(ParseNonce), nonce},
		{"3.10", PayloadNotify, "00 00 4013 aabb", to(ParseNotify), Notify{Type: NotifyAuthLifetime, SPI: []byte{}, Data: []byte{0xaa, 0xbb}}},
		{"3.10", PayloadNotify, "03 04 4009 c0010203", to(ParseNotify), Notify{ProtocolESP, NotifyRekeySA, []byte{0xc0, 1, 2, 3}, []byte{}}},
		{"3.11", PayloadDelete, "01 00 0000", to(ParseDelete), Delete{ProtocolIKE, 0, []byte{}}},
		{"3.11", PayloadDelete, "03 04 0002 c0010203 c0010204", to(ParseDelete), Delete{ProtocolESP, 4, unhex(t, "c0010203c0010204")}},
		{"3748 4.1", PayloadEAP, "01 2a 0006 1a ff", to(ParseEAP), EAP{EAPRequest, 42, 26, []byte{0xff}}},
		{"3748 4.1", PayloadEAP, "02 2a 0005 01", to(ParseEAP), EAP{EAPResponse, 42, 1, []byte{}}},
		{"3748 4.2", PayloadEAP, "03 2a 0004", to(ParseEAP), EAP{Code: EAPSuccess, Identifier: 42}},
		{"7383 2.5", PayloadSKF, "0002 0003 aabb", to(ParseSKF), SKF{2, 3, []byte{0xaa, 0xbb}}},
	}
	for _, tt := range tests {
		body := unhex(t, tt.body)
		got, err := tt.parse(body)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %s %s: %+v, %v, want %+v", tt.section, tt.kind, tt.body, got, err, tt.want)
			continue
		}
		w := NewWriter(nil, anyHeader)
		if err := rewritePayload(&w, Payload{Type: tt.kind, Body: body}); err != nil || !bytes.Equal(w.Buf[HeaderLen+4:], body) {
			t.Errorf("%s: %s: written again %x, %v, want %x", tt.section, tt.kind, w.Buf[HeaderLen+4:], err, body)
		}
	}
}

func to[T any](parse func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return parse(b) }
}

func TestBodyFaults(t *testing.T) {
	tests := []struct {
		section, fault, body string
		parse                func([]byte) (any, error)
		err                  error
	}{
		{"3.4", "no group", "001f00", to(ParseKE), ErrShort},
		{"3.4", "no public value", "001f0000", to(ParseKE), ErrShort},
		{"3.5", "no reserved octets", "020000", to(ParseID), ErrShort},
		{"3.5", "nobody by name", "02000000", to(ParseID), ErrIdentity},
		{"3.5", "IPv4 address of 3", "01000000 0a0000", to(ParseID), ErrIdentity},
		{"3.5", "IPv4 address of 5", "01000000 0a00000000", to(ParseID), ErrIdentity},
		{"3.5", "IPv6 address of 4", "05000000 0a000001", to(ParseID), ErrIdentity},
		{"3.6", "no certificate", "04", to(ParseCert), ErrShort},
		{"3.7", "nothing", "", to(ParseCertReq), ErrShort},
		{"3.7", "half a hash", "04 0102030405060708090a", to(ParseCertReq), ErrCertReq},
		{"3.8", "no authentication data", "02000000", to(ParseAuth), ErrShort},
		{"3.9", "15 octets", "070707070707070707070707070707", to(ParseNonce), ErrNonce},
		{"3.10", "no type", "000040", to(ParseNotify), ErrShort},
		{"3.10", "half an SPI", "03044009 c00102", to(ParseNotify), ErrShort},
		{"3.11", "no count", "030400", to(ParseDelete), ErrShort},
		{"3.11", "IKE with an SPI", "01080001 0102030405060708", to(ParseDelete), ErrSPISize},
		{"3.11", "ESP with SPIs of 3", "03030001 010203", to(ParseDelete), ErrSPISize},
		{"3.11", "an unknown protocol with SPIs of 1", "09010001 01", to(ParseDelete), ErrSPISize},
		{"3.11", "AH without SPIs", "02000000", to(ParseDelete), ErrSPISize},
		{"3.11", "one SPI fewer than counted", "03040002 01020304", to(ParseDelete), ErrCount},
		{"3.11", "one SPI more than counted", "03040001 0102030405060708", to(ParseDelete), ErrCount},
		{"3.11", "no SPIs and octets", "01000000 01", to(ParseDelete), ErrCount},
		{"3.15", "no reserved octets", "010000", to(ParseCP), ErrShort},
		{"3.15.1", "half an attribute", "01000000 000100", to(ParseCP), ErrShort},
		{"3.15.1", "value longer than the payload", "01000000 00010004 010203", to(ParseCP), ErrShort},
		{"3748 4", "no length", "0101", to(ParseEAP), ErrShort},
		{"3.16", "longer than the payload", "01010006 01", to(ParseEAP), ErrShort},
		{"3.16", "shorter than the payload", "01010005 0101", to(ParseEAP), ErrTrailing},
		{"3748 4.1", "request without type", "01010004", to(ParseEAP), ErrLength},
		{"3748 4.2", "success with data", "03010005 01", to(ParseEAP), ErrLength},
		{"3748 4", "code 0", "00010004", to(ParseEAP), ErrEAP},
		{"3748 4", "code 5", "05010005 01", to(ParseEAP), ErrEAP},
		{"7383 2.5", "no total", "000100", to(ParseSKF), ErrShort},
		{"7383 2.6", "fragment 0", "00000003", to(ParseSKF), ErrFragment},
		{"7383 2.6", "none of none", "00000000", to(ParseSKF), ErrFragment},
		{"7383 2.6", "fragment 4 of 3", "00040003", to(ParseSKF), ErrFragment},
	}
	for _, tt := range tests {
		if _, err := tt.parse(unhex(t, tt.body)); err != tt.err {
			t.Errorf("%s: %s: %v, want %v", tt.section, tt.fault, err, tt.err)
		}
	}
	if _, err := ParseNonce(make([]byte, 256)); err != nil {
		t.Errorf("3.9: 256 octets: %v", err)
	}
	if _, err := ParseNonce(make([]byte, 257)); err != ErrNonce {
		t.Errorf("3.9: 257 octets: %v", err)
	}
}

// 2.5: reserved fields are ignored, whatever they hold.
func TestBodyReserved(t *testing.T) {
	for _, tt := range []struct {
		parse func([]byte) (any, error)
		zero  string
		not   string
	}{
		{to(ParseKE), "001f0000 aa", "001fffff aa"},
		{to(ParseID), "02000000 aa", "02ffffff aa"},
		{to(ParseAuth), "02000000 aa", "02ffffff aa"},
	} {
		want, _ := tt.parse(unhex(t, tt.zero))
		if got, err := tt.parse(unhex(t, tt.not)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.not, got, err, want)
		}
	}
}

func TestDeleteSPIs(t *testing.T) {
	d, err := ParseDelete(unhex(t, "03 04 0002 c0010203 c0010204"))
	if err != nil || d.Count() != 2 || d.SPI32(0) != 0xc0010203 || d.SPI32(1) != 0xc0010204 {
		t.Errorf("%+v, %v", d, err)
	}
	// Of an IKE SA there are none, whatever the count says.
	if d, err := ParseDelete(unhex(t, "01 00 0001")); err != nil || d.Count() != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestCP(t *testing.T) {
	body := unhex(t, "02 000000  0001 0004 0a000001  0003 0000  0007 0002 6869")
	attributes := []CPAttribute{
		{CPInternalIP4Address, []byte{10, 0, 0, 1}},
		{CPInternalIP4DNS, []byte{}},
		{CPApplicationVersion, []byte("hi")},
	}
	if got := AppendCP(nil, CFGReply, attributes); !bytes.Equal(got, body) {
		t.Errorf("got  %x\nwant %x", got, body)
	}
	attributes[0].Type |= 0x8000 // 3.15.1: R is sent as zero
	if got := AppendCP(nil, CFGReply, attributes); !bytes.Equal(got, body) {
		t.Errorf("with R: got %x", got)
	}
	attributes[0].Type = CPInternalIP4Address
	if cp, err := ParseCP(body[:4]); err != nil || len(slices.Collect(cp.Attributes())) != 0 {
		t.Errorf("no attributes: %+v, %v", cp, err)
	}
	body[1], body[4] = 0xff, 0x80 // 3.15, 3.15.1: reserved octets and the R bit
	cp, err := ParseCP(body)
	if err != nil || cp.Type != CFGReply {
		t.Fatalf("%+v, %v", cp, err)
	}
	if got := slices.Collect(cp.Attributes()); !reflect.DeepEqual(got, attributes) {
		t.Errorf("got %+v", got)
	}
	for a := range cp.Attributes() { // a loop may end early
		if a.Type != CPInternalIP4Address {
			t.Errorf("first is %v", a.Type)
		}
		break
	}
}
