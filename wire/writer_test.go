package wire

import (
	"bytes"
	"testing"
)

var anyHeader = Header{SPIi: 1, SPIr: 2, Version: Version, Exchange: ExchangeInformational, MessageID: 3, NextPayload: 99, Length: 99}

func TestWriterEmpty(t *testing.T) {
	w := NewWriter(nil, anyHeader)
	want := unhex(t, "0000000000000001 0000000000000002 00 20 25 00 00000003 0000001c")
	if got := w.Finish(); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// A message may stand behind the non-ESP marker (RFC 3948 2.2), or behind other
// messages.
func TestWriterOffset(t *testing.T) {
	marker := []byte{0, 0, 0, 0}
	w := NewWriter(marker, anyHeader)
	w.VendorID([]byte{0xaa})
	w.Notify(Notify{Type: NotifyCookie, Data: []byte{0xbb}})
	message := w.Finish()
	want := unhex(t, `0000000000000001 0000000000000002 2b 20 25 00 00000003 0000002a
		29 00 0005 aa  00 00 0009 00 00 4006 bb`)
	if !bytes.Equal(message, want) {
		t.Errorf("got  %x\nwant %x", message, want)
	}
	if !bytes.Equal(w.Buf[:4], marker) || &w.Buf[4] != &message[0] {
		t.Errorf("the message does not lie behind the marker: %x", w.Buf)
	}
}

func TestWriterSK(t *testing.T) {
	w := NewWriter(make([]byte, 4), anyHeader)
	w.StartSK(8)
	if w.SKOffset() != 4+HeaderLen {
		t.Errorf("SK begins at %d", w.SKOffset())
	}
	copy(w.Buf[len(w.Buf)-8:], "iviviviv")
	w.Nonce(bytes.Repeat([]byte{0xcc}, 16))
	w.Delete(Delete{Protocol: ProtocolIKE})
	plain := len(w.Buf)
	w.CloseSK(1 + 16)
	if n := len(w.Buf) - plain; n != 17 || !bytes.Equal(w.Buf[plain:], make([]byte, 17)) {
		t.Errorf("%d octets of padding and ICV: %x", n, w.Buf[plain:])
	}
	want := unhex(t, `0000000000000001 0000000000000002 2e 20 25 00 00000003 00000055
		28 00 0039 6976697669766976
		2a 00 0014 cccccccccccccccccccccccccccccccc
		00 00 0008 01 00 0000
		00 00000000000000000000000000000000`)
	if got := w.Finish(); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// A liveness request: SK with nothing inside (1.4).
func TestWriterEmptySK(t *testing.T) {
	w := NewWriter(nil, anyHeader)
	w.StartSK(0)
	w.CloseSK(1)
	want := unhex(t, "0000000000000001 0000000000000002 2e 20 25 00 00000003 00000021 00 00 0005 00")
	if got := w.Finish(); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// RFC 7383 2.5: only the first fragment names the first payload inside.
func TestWriterSKF(t *testing.T) {
	for num, next := range map[uint16]string{1: "23", 2: "00", 3: "00"} {
		w := NewWriter(nil, anyHeader)
		w.StartSKF(PayloadIDi, num, 3, 2)
		w.Buf = append(w.Buf, 0xaa, 0xbb)
		w.CloseSK(1)
		want := unhex(t, "0000000000000001 0000000000000002 35 20 25 00 00000003 00000029"+
			next+" 00 000d 0001 0003 0000 aabb 00")
		want[HeaderLen+5] = byte(num)
		if got := w.Finish(); !bytes.Equal(got, want) {
			t.Errorf("fragment %d:\n got %x\nwant %x", num, got, want)
		}
	}
}

// 3.2: the length of a payload is two octets.
func TestWriterLongest(t *testing.T) {
	write := func(n int) []byte {
		w := NewWriter(nil, anyHeader)
		w.VendorID(make([]byte, n-4))
		return w.Finish()
	}
	if err := check(write(65535)); err != nil {
		t.Errorf("65,535 octets: %v", err)
	}
	if !panics(func() { write(65536) }) {
		t.Error("65,536 octets: no panic")
	}
	for name, f := range map[string]func(){
		"an SPI of 256 octets":          func() { Notify{SPI: make([]byte, 256)}.Append(nil) },
		"65,536 SPIs":                   func() { Delete{ProtocolESP, 4, make([]byte, 4<<16)}.Append(nil) },
		"an attribute of 65,536 octets": func() { AppendCP(nil, CFGReply, []CPAttribute{{Value: make([]byte, 1<<16)}}) },
		"an EAP packet of 65,536":       func() { EAP{Code: EAPRequest, Data: make([]byte, 1<<16-5)}.Append(nil) },
	} {
		if !panics(f) {
			t.Errorf("%s: no panic", name)
		}
	}
}
