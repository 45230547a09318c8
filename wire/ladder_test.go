package wire

import "testing"

func TestLadder(t *testing.T) {
	nonce := make([]byte, 16)
	request := Header{SPIi: 1, Version: Version, Exchange: ExchangeSessionResume}
	response := request
	response.Flags = FlagResponse
	auth := Header{SPIi: 1, SPIr: 2, Version: Version, Exchange: ExchangeIKEAuth}
	tests := []struct {
		name  string
		h     Header
		write func(w *Writer)
		want  string
	}{
		{"resume", request, func(w *Writer) {
			w.Notify(Notify{Type: NotifyCookie})
			w.Nonce(nonce)
			w.Notify(Notify{Type: NotifyTicketOpaque})
		}, "IKE_SESSION_RESUME {N(COOKIE), Ni, N(TICKET_OPAQUE)}"},
		{"resumed", response, func(w *Writer) { w.Nonce(nonce) }, "IKE_SESSION_RESUME {Nr}"},
		{"refused", response, func(w *Writer) { w.Notify(Notify{Type: NotifyTicketNACK}) }, "IKE_SESSION_RESUME {N(TICKET_NACK)}"},
		{"nothing", request, func(*Writer) {}, "IKE_SESSION_RESUME {}"},
		{"private notify, unknown payload", request, func(w *Writer) {
			w.Notify(Notify{Type: 40000})
			w.Raw(200, nil)
		}, "IKE_SESSION_RESUME {N(40000), 200}"},
		{"encrypted", auth, func(w *Writer) { w.StartSK(8); w.CloseSK(16) }, "IKE_AUTH SK {...}"},
		{"fragment", auth, func(w *Writer) { w.StartSKF(PayloadIDi, 2, 3, 8); w.CloseSK(16) }, "IKE_AUTH SKF(2/3) {...}"},
		{"tenth fragment", auth, func(w *Writer) { w.StartSKF(PayloadIDi, 10, 11, 8); w.CloseSK(16) }, "IKE_AUTH SKF(10/11) {...}"},
		{"clear before encrypted", auth, func(w *Writer) {
			w.Notify(Notify{Type: NotifyCookie})
			w.StartSK(8)
			w.CloseSK(16)
		}, "IKE_AUTH {N(COOKIE), SK {...}}"},
		{"bad notify", request, func(w *Writer) { w.Raw(PayloadNotify, []byte{0}) }, "IKE_SESSION_RESUME {N(malformed)}"},
		{"bad CP", auth, func(w *Writer) { w.Raw(PayloadCP, []byte{1}) }, "IKE_AUTH {CP}"},
		{"bad fragment", auth, func(w *Writer) { w.StartSKF(PayloadIDi, 4, 3, 8); w.CloseSK(16) }, "IKE_AUTH SKF(malformed)"},
		{"bad chain", request, func(w *Writer) {
			w.Nonce(nonce)
			w.Buf = append(w.Buf, 0)
		}, "IKE_SESSION_RESUME {Ni, malformed}"},
	}
	for _, tt := range tests {
		w := NewWriter(nil, tt.h)
		tt.write(&w)
		h, _ := ParseHeader(w.Finish())
		if got := string(AppendLadder(nil, h, w.Buf[HeaderLen:], nil)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// 1.2, 1.3: an SA payload is called after the exchange that it stands in.
func TestLadderSA(t *testing.T) {
	tests := []struct {
		exchange ExchangeType
		flags    Flags
		want     string
	}{
		{ExchangeIKESAInit, FlagInitiator, "IKE_SA_INIT {SAi1, KEi}"},
		{ExchangeIKESAInit, FlagResponse, "IKE_SA_INIT {SAr1, KEr}"},
		{ExchangeIKEAuth, FlagInitiator, "IKE_AUTH {SAi2, KEi}"},
		{ExchangeIKEAuth, FlagResponse, "IKE_AUTH {SAr2, KEr}"},
		{ExchangeCreateChildSA, 0, "CREATE_CHILD_SA {SA, KEi}"},
		{ExchangeCreateChildSA, FlagInitiator | FlagResponse, "CREATE_CHILD_SA {SA, KEr}"},
	}
	for _, tt := range tests {
		w := NewWriter(nil, Header{Exchange: tt.exchange, Flags: tt.flags})
		w.SA(anIKEOffer()...)
		w.KE(KE{Group: KEX25519, Data: []byte{1}})
		h, _ := ParseHeader(w.Finish())
		if got := string(AppendLadder(nil, h, w.Buf[HeaderLen:], nil)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// A plaintext that holds an SK again is shown closed, and once.
func TestLadderInsideOut(t *testing.T) {
	w := NewWriter(nil, Header{Exchange: ExchangeIKEAuth})
	w.StartSK(0)
	w.CloseSK(1)
	h, _ := ParseHeader(w.Finish())
	plain := w.Buf[HeaderLen:]
	if got := string(AppendLadderSK(nil, h, PayloadSK, plain)); got != "IKE_AUTH SK {SK {...}}" {
		t.Error(got)
	}
	if got := string(AppendLadder(nil, h, plain, []byte{})); got != "IKE_AUTH SK {}" {
		t.Error(got)
	}
}
