package wire

import (
	"encoding/binary"
	"math"
)

// Writer builds one message at the end of a buffer. It allocates only when the
// buffer must grow. No size or count wraps, here or in an Append: it is misuse,
// and panics, to write a payload or a part of one above 65,535 octets, or an
// SPI above 255. What a peer may make long, the caller bounds before.
type Writer struct {
	Buf   []byte // the message grows at its end; between Start and End the caller may append
	start int    // of the header
	next  int    // of the Next Payload octet that names the payload to come
	open  int    // of the generic header of the payload last started
	sk    int    // of the generic header of SK or SKF, 0 for none
}

// NewWriter appends the header to dst; what is in dst already (the non-ESP
// marker) is left alone. Next Payload and Length of h are overwritten.
func NewWriter(dst []byte, h Header) Writer {
	h.NextPayload = PayloadNone
	return Writer{Buf: h.Append(dst), start: len(dst), next: len(dst) + 16}
}

// Start begins a payload of type t and chains it to the one before. The caller
// appends the body to Buf and calls End. The critical bit is never set (2.5:
// it is clear for payloads of the RFC).
func (w *Writer) Start(t PayloadType) {
	w.Buf[w.next] = byte(t)
	w.open = len(w.Buf)
	w.next = w.open
	w.Buf = append(w.Buf, 0, 0, 0, 0)
}

// End writes the length of the payload that was begun last.
func (w *Writer) End() { w.patchLength(w.open) }

// StartSK begins the encrypted payload with ivLen zero octets for the IV. The
// payloads started from now on lie inside.
func (w *Writer) StartSK(ivLen int) {
	w.Start(PayloadSK)
	w.sk = w.open
	w.Buf = append(w.Buf, make([]byte, ivLen)...)
}

// StartSKF begins encrypted fragment number num of total, from 1, with ivLen
// zero octets for the IV. The caller appends the plaintext piece. Fragment 1
// carries the type of the first payload inside, all others zero (RFC 7383 2.5).
func (w *Writer) StartSKF(first PayloadType, num, total uint16, ivLen int) {
	w.Start(PayloadSKF)
	w.sk = w.open
	if num == 1 {
		w.Buf[w.sk] = byte(first)
	}
	w.Buf = binary.BigEndian.AppendUint16(w.Buf, num)
	w.Buf = binary.BigEndian.AppendUint16(w.Buf, total)
	w.Buf = append(w.Buf, make([]byte, ivLen)...)
}

// CloseSK appends padAndICV zero octets for padding, pad length and ICV, which
// the caller fills, and writes the lengths of SK or SKF and of the message.
func (w *Writer) CloseSK(padAndICV int) {
	w.Buf = append(w.Buf, make([]byte, padAndICV)...)
	w.patchLength(w.sk)
	w.Finish()
}

// SKOffset returns where in Buf the generic header of SK or SKF begins. The
// associated data of an AEAD runs from the header to 4 octets behind it for SK
// (RFC 5282 5.1) and 8 for SKF (RFC 7383 2.5).
func (w *Writer) SKOffset() int { return w.sk }

// Finish writes the length of the message and returns it, a view of Buf from
// its own header on.
func (w *Writer) Finish() []byte {
	message := w.Buf[w.start:]
	binary.BigEndian.PutUint32(message[24:], uint32(len(message)))
	return message
}

// Raw writes a payload with the given body.
func (w *Writer) Raw(t PayloadType, body []byte) {
	w.Start(t)
	w.Buf = append(w.Buf, body...)
	w.End()
}

// SA writes an SA payload.
func (w *Writer) SA(proposals ...ProposalSpec) {
	w.Start(PayloadSA)
	w.Buf = AppendSA(w.Buf, proposals...)
	w.End()
}

// KE writes a Key Exchange payload.
func (w *Writer) KE(k KE) {
	w.Start(PayloadKE)
	w.Buf = k.Append(w.Buf)
	w.End()
}

// ID writes an identity as payload t, PayloadIDi or PayloadIDr.
func (w *Writer) ID(t PayloadType, id ID) {
	w.Start(t)
	w.Buf = id.Append(w.Buf)
	w.End()
}

// Cert writes a Certificate payload.
func (w *Writer) Cert(c Cert) {
	w.Start(PayloadCERT)
	w.Buf = c.Append(w.Buf)
	w.End()
}

// CertReq writes a Certificate Request payload.
func (w *Writer) CertReq(c CertReq) {
	w.Start(PayloadCERTREQ)
	w.Buf = c.Append(w.Buf)
	w.End()
}

// Auth writes an Authentication payload.
func (w *Writer) Auth(a Auth) {
	w.Start(PayloadAUTH)
	w.Buf = a.Append(w.Buf)
	w.End()
}

// Nonce writes Ni or Nr, 16 to 256 octets.
func (w *Writer) Nonce(nonce []byte) { w.Raw(PayloadNonce, nonce) }

// Notify writes a Notify payload.
func (w *Writer) Notify(n Notify) {
	w.Start(PayloadNotify)
	w.Buf = n.Append(w.Buf)
	w.End()
}

// Delete writes a Delete payload.
func (w *Writer) Delete(d Delete) {
	w.Start(PayloadDelete)
	w.Buf = d.Append(w.Buf)
	w.End()
}

// VendorID writes a Vendor ID payload.
func (w *Writer) VendorID(id []byte) { w.Raw(PayloadVendorID, id) }

// TS writes traffic selectors as payload t, PayloadTSi or PayloadTSr.
func (w *Writer) TS(t PayloadType, selectors []Selector) {
	w.Start(t)
	w.Buf = AppendTS(w.Buf, selectors)
	w.End()
}

// CP writes a Configuration payload.
func (w *Writer) CP(cfg CFGType, attributes []CPAttribute) {
	w.Start(PayloadCP)
	w.Buf = AppendCP(w.Buf, cfg, attributes)
	w.End()
}

// EAP writes an EAP payload.
func (w *Writer) EAP(e EAP) {
	w.Start(PayloadEAP)
	w.Buf = e.Append(w.Buf)
	w.End()
}

func (w *Writer) patchLength(header int) {
	binary.BigEndian.PutUint16(w.Buf[header+2:], word(len(w.Buf)-header))
}

// octet returns n as a one-octet count or size field.
func octet(n int) byte {
	if n > math.MaxUint8 {
		panic("wire: a one-octet count holds at most 255")
	}
	return byte(n)
}

// word returns n as a two-octet count or size field.
func word(n int) uint16 {
	if n > math.MaxUint16 {
		panic("wire: a payload and what is in it hold at most 65,535 octets")
	}
	return uint16(n)
}
