package psk

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, row := range []struct {
		text, want string
		err        error
	}{
		{"correct horse battery staple", "correct horse battery staple", nil},
		{"0x00ff10", "\x00\xff\x10", nil},
		{"0xABcd", "\xab\xcd", nil},
		{"0sAP8Q", "\x00\xff\x10", nil},
		{"0sAP8=", "\x00\xff", nil},
		{"00x1", "00x1", nil},
		{"sch\u00f6n", "sch\xc3\xb6n", nil},
		{strings.Repeat("a", maxSecret), strings.Repeat("a", maxSecret), nil},
		{"", "", errEmpty},
		{"0x", "", errEmpty},
		{"0s", "", errEmpty},
		{"0x123", "", errHex},
		{"0x12 34", "", errHex},
		{"0xzz", "", errHex},
		{"0sA", "", errBase64},
		{"0sAP8", "", errBase64},
		{"0sAP9=", "", errBase64}, // bits behind the last octet
		{" secret", "", errSpace},
		{"secret\n", "", errSpace},
		{"sec\nret", "", errSpace},
		{strings.Repeat("a", maxSecret+1), "", errLong},
	} {
		got, err := Parse(row.text)
		if string(got) != row.want || err != row.err {
			t.Errorf("%.40q: %q %v", row.text, []byte(got), err)
		}
		if err != nil && len(row.text) > 3 && strings.Contains(err.Error(), row.text) {
			t.Errorf("%.40q is in the error", row.text)
		}
	}
}

// TestRFC7296_5_Advice: shared keys that people think of are told of, random
// ones are not.
func TestRFC7296_5_Advice(t *testing.T) {
	for _, row := range []struct {
		secret string
		weak   bool
	}{
		{"a", true},
		{"secret", true},
		{"correct horse", true},
		{"12345678901234567890", true},
		{strings.Repeat("a", 200), true},
		{"7fQz9LmW2xRt5VbN8kPd", false},
		{"\x8f\x13\xe0\x5a\x99\x42\xc7\x0b\x1d\xf6\x38\x71\xae\x2c\xd4\x67", false},
		{"0123456789abcdef0123456789abcdef", false},
	} {
		if got := Secret(row.secret).Advice(); (got != "") != row.weak || strings.Contains(got, row.secret) && len(row.secret) > 1 {
			t.Errorf("%q: %q", row.secret, got)
		}
	}
}

func TestRedacted(t *testing.T) {
	e := struct {
		Peer   string
		Secret Secret
	}{"gw", Secret("geheim")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		got := fmt.Sprintf(verb, e)
		if strings.Contains(got, "geheim") || strings.Contains(got, fmt.Sprintf("%x", "geheim")) || strings.Contains(got, "103") {
			t.Errorf("%s: %s", verb, got)
		}
	}
	if got, err := json.Marshal(e.Secret); string(got) != `"redacted"` || err != nil {
		t.Errorf("%s %v", got, err)
	}
}
