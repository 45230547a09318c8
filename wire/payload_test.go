package wire

import (
	"bytes"
	"fmt"
	"testing"
)

func TestHeaderOctets(t *testing.T) {
	h := Header{
		SPIi: 0x0102030405060708, SPIr: 0x1112131415161718, NextPayload: PayloadSK, Version: Version,
		Exchange: ExchangeInformational, Flags: FlagInitiator | FlagResponse, MessageID: 0x21222324, Length: 0x31323334,
	}
	b := unhex(t, "0102030405060708 1112131415161718 2e 20 25 28 21222324 31323334")
	if got := h.Append(nil); !bytes.Equal(got, b) {
		t.Errorf("got  %x\nwant %x", got, b)
	}
	got, err := ParseHeader(append(b, 0xff))
	if err != nil || got != h {
		t.Errorf("got %+v, %v", got, err)
	}
	if !got.Initiator() || !got.Response() || got.Major() != 2 || got.SPIs() != (SPIs{h.SPIi, h.SPIr}) {
		t.Errorf("flags, version or SPIs of %+v", got)
	}
	if h.Flags = FlagVersion; h.Initiator() || h.Response() {
		t.Errorf("flags %02x are of an initiator, or of a response", h.Flags)
	}
	if s := got.SPIs().String(); s != "0102030405060708_i 1112131415161718_r" {
		t.Errorf("SPIs print as %s", s)
	}
	if _, err := ParseHeader(b[:HeaderLen-1]); err != ErrShort {
		t.Errorf("27 octets: %v", err)
	}
	if s := fmt.Sprint(SPI(0xab)); s != "00000000000000ab" {
		t.Errorf("SPI prints as %s", s)
	}
}

func TestHeaderFits(t *testing.T) {
	tests := []struct {
		length uint32
		n      int
		fits   bool
	}{
		{28, 28, true},
		{29, 28, false},
		{28, 29, false},
		{0, 0, false},   // 3.1: the length covers the header
		{27, 27, false}, //
		{0xffffffff, -1, false},
	}
	for _, tt := range tests {
		if got := (Header{Length: tt.length}).Fits(tt.n); got != tt.fits {
			t.Errorf("Length %d in %d octets: %v", tt.length, tt.n, got)
		}
	}
}

func TestWalk(t *testing.T) {
	tests := []struct {
		section, name string
		first         PayloadType
		chain         string
		types         []PayloadType // before the end or the fault
		err           error
	}{
		{"1.4", "nothing", PayloadNone, "", nil, nil},
		{"3.2", "nothing announced, something there", PayloadNone, "00000004", nil, ErrTrailing},
		{"3.2", "something announced, nothing there", PayloadNotify, "", nil, ErrShort},
		{"3.2", "an empty body", PayloadVendorID, "00000004", []PayloadType{PayloadVendorID}, nil},
		{"3.2", "two", PayloadNonce, "2b000005 aa 00000004", []PayloadType{PayloadNonce, PayloadVendorID}, nil},
		{"3.2", "second one missing", PayloadNonce, "2b000005 aa", []PayloadType{PayloadNonce}, ErrShort},
		{"3.2", "half a header", PayloadNonce, "2b000005 aa 0000", []PayloadType{PayloadNonce}, ErrShort},
		{"3.2", "shorter than its header", PayloadNonce, "00000003", nil, ErrLength},
		{"3.2", "longer than the message", PayloadNonce, "00000005", nil, ErrShort},
		{"3.2", "octets after the last", PayloadNonce, "00000004 00", []PayloadType{PayloadNonce}, ErrTrailing},
		{"3.14", "SK, whose Next Payload lies inside", PayloadSK, "23000006 aabb", []PayloadType{PayloadSK}, nil},
		{"3.14", "SK is not the last", PayloadSK, "29000004 00000004", nil, ErrSKNotLast},
		{"3.14", "clear payloads before SK", PayloadVendorID, "2e000004 00000005 aa", []PayloadType{PayloadVendorID, PayloadSK}, nil},
		{"7383 2.5", "SKF is not the last", PayloadSKF, "00000004 00", nil, ErrSKNotLast},
	}
	for _, tt := range tests {
		walk := Walk(tt.first, unhex(t, tt.chain))
		var types []PayloadType
		for p, ok := walk.Next(); ok; p, ok = walk.Next() {
			types = append(types, p.Type)
		}
		if fmt.Sprint(types) != fmt.Sprint(tt.types) || walk.Err() != tt.err {
			t.Errorf("%s: %s: %v, %v, want %v, %v", tt.section, tt.name, types, walk.Err(), tt.types, tt.err)
		}
		if _, ok := walk.Next(); ok || walk.Err() != tt.err {
			t.Errorf("%s: %s: asked again: %v, %v", tt.section, tt.name, ok, walk.Err())
		}
	}
}

// 2.5: C is the first bit, the seven behind it are nobody's.
func TestWalkFields(t *testing.T) {
	walk := Walk(200, unhex(t, "c97f0006aabb 00ff0004"))
	one, _ := walk.Next()
	two, _ := walk.Next()
	if one.Type != 200 || one.Critical || one.Next != 201 || !bytes.Equal(one.Body, []byte{0xaa, 0xbb}) {
		t.Errorf("first %+v", one)
	}
	if two.Type != 201 || !two.Critical || two.Next != PayloadNone || len(two.Body) != 0 {
		t.Errorf("second %+v", two)
	}
	// Who appends to a body must not write over the payload behind it.
	if cap(one.Body) != len(one.Body) {
		t.Errorf("a body of %d octets with room for %d", len(one.Body), cap(one.Body))
	}
}

func TestKnown(t *testing.T) {
	for n := range 256 {
		want := n >= 33 && n <= 48 || n == 53
		if got := (Payload{Type: PayloadType(n)}).Known(); got != want {
			t.Errorf("payload %d: %v", n, got)
		}
	}
}
