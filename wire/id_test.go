package wire

import "testing"

func TestIDString(t *testing.T) {
	tests := []struct {
		id   ID
		want string
	}{
		{ID{IDFQDN, []byte("gw.example.org")}, "gw.example.org"},
		{ID{IDRFC822Addr, []byte("zoë@example.org")}, "zoë@example.org"},
		{ID{IDIPv4Addr, []byte{192, 0, 2, 1}}, "192.0.2.1"},
		{ID{IDIPv6Addr, []byte{15: 1}}, "::1"},
		{ID{IDKeyID, []byte("hexa")}, "keyid:68657861"},
		{ID{IDNull, nil}, "anonymous"},
		{ID{IDDERASN1DN, unhex(t, "3026310b3009060355040613024348310a3008060355040a130141310b3009060355040313026777")}, "CN=gw,O=A,C=CH"},
		{ID{IDDERASN1DN, []byte{0x30, 5}}, "ID_DER_ASN1_DN:3005"},
		{ID{77, []byte{1, 2}}, "77:0102"},
		// what a peer may not do to a log
		{ID{IDFQDN, []byte("a\nb")}, `"a\nb"`},
		{ID{IDFQDN, []byte("\x1b[31m")}, `"\x1b[31m"`},
		{ID{IDFQDN, []byte{0xff}}, `"\xff"`},
		{ID{IDFQDN, []byte("\u202egpj")}, `"\u202egpj"`},
		{ID{IDFQDN, nil}, `""`},
		{ID{IDIPv4Addr, []byte{1}}, "ID_IPV4_ADDR:01"},
	}
	for _, tt := range tests {
		if got := tt.id.String(); got != tt.want {
			t.Errorf("%v %x: %s, want %s", tt.id.Type, tt.id.Data, got, tt.want)
		}
	}
}
