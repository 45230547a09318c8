package wire

import "encoding/binary"

// Writer builds one message at the end of Buf. It allocates only when Buf has
// no room. Payloads go between Start and End; StartSK begins the encrypted
// part, whose payloads are written the same way.
type Writer struct {
	Buf   []byte
	start int // of the message
	chain int // where the type of the next payload goes
	open  int // generic header of the payload between Start and End
	sk    int // generic header of SK or SKF
}

// NewWriter appends h to dst. Length and NextPayload are filled in later.
func NewWriter(dst []byte, h Header) Writer {
	h.NextPayload = PayloadNone
	w := Writer{start: len(dst), chain: len(dst) + 16, sk: -1}
	w.Buf = h.Append(dst)
	return w
}

// Start begins a payload: what is appended to Buf until End is its body.
func (w *Writer) Start(t PayloadType) {
	w.Buf[w.chain] = byte(t)
	w.open, w.chain = len(w.Buf), len(w.Buf)
	w.Buf = append(w.Buf, 0, 0, 0, 0)
}

// End closes the payload that Start began.
func (w *Writer) End() {
	binary.BigEndian.PutUint16(w.Buf[w.open+2:], uint16(len(w.Buf)-w.open))
}

// StartSK begins the encrypted payload with ivLen octets for the IV. The next
// payload started is the first one inside (RFC 7296 3.14).
func (w *Writer) StartSK(ivLen int) {
	w.Start(PayloadSK)
	w.sk = w.open
	w.zeros(ivLen)
}

// StartSKF begins an encrypted fragment; its content is appended to Buf. first
// is the first payload of the whole message and stands in fragment 1 only.
func (w *Writer) StartSKF(first PayloadType, num, total uint16, ivLen int) {
	w.Start(PayloadSKF)
	w.sk = w.open
	if num == 1 {
		w.Buf[w.sk] = byte(first)
	}
	w.Buf = binary.BigEndian.AppendUint16(w.Buf, num)
	w.Buf = binary.BigEndian.AppendUint16(w.Buf, total)
	w.zeros(ivLen)
}

// CloseSK appends n zero octets, room for padding, pad length and ICV, and
// fills in the lengths of the SK or SKF payload and of the message.
func (w *Writer) CloseSK(n int) {
	w.zeros(n)
	binary.BigEndian.PutUint16(w.Buf[w.sk+2:], uint16(len(w.Buf)-w.sk))
	w.Finish()
}

// SKOffset is where the generic header of SK or SKF begins, counted from the
// start of the message.
func (w *Writer) SKOffset() int { return w.sk - w.start }

// Finish fills in the message's length and returns the message.
func (w *Writer) Finish() []byte {
	binary.BigEndian.PutUint32(w.Buf[w.start+24:], uint32(len(w.Buf)-w.start))
	return w.Buf[w.start:]
}

func (w *Writer) zeros(n int) {
	for ; n > 0; n-- {
		w.Buf = append(w.Buf, 0)
	}
}

// Raw writes a payload with that body.
func (w *Writer) Raw(t PayloadType, body []byte) {
	w.Start(t)
	w.Buf = append(w.Buf, body...)
	w.End()
}

// SA writes an SA payload.
func (w *Writer) SA(ps ...ProposalSpec) {
	w.Start(PayloadSA)
	w.Buf = AppendSA(w.Buf, ps...)
	w.End()
}

// KE writes a Key Exchange payload.
func (w *Writer) KE(k KE) {
	w.Start(PayloadKE)
	w.Buf = k.Append(w.Buf)
	w.End()
}

// ID writes an IDi or IDr payload.
func (w *Writer) ID(t PayloadType, id ID) {
	w.Start(t)
	w.Buf = id.Append(w.Buf)
	w.End()
}

// Cert writes a CERT payload.
func (w *Writer) Cert(c Cert) {
	w.Start(PayloadCERT)
	w.Buf = c.Append(w.Buf)
	w.End()
}

// CertReq writes a CERTREQ payload.
func (w *Writer) CertReq(c CertReq) {
	w.Start(PayloadCERTREQ)
	w.Buf = c.Append(w.Buf)
	w.End()
}

// Auth writes an AUTH payload.
func (w *Writer) Auth(a Auth) {
	w.Start(PayloadAUTH)
	w.Buf = a.Append(w.Buf)
	w.End()
}

// Nonce writes a Nonce payload.
func (w *Writer) Nonce(b []byte) { w.Raw(PayloadNonce, b) }

// VendorID writes a Vendor ID payload.
func (w *Writer) VendorID(b []byte) { w.Raw(PayloadVendorID, b) }

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

// TS writes a TSi or TSr payload.
func (w *Writer) TS(t PayloadType, ss []Selector) {
	w.Start(t)
	w.Buf = AppendTS(w.Buf, ss)
	w.End()
}

// CP writes a Configuration payload.
func (w *Writer) CP(t CFGType, attrs ...CPAttribute) {
	w.Start(PayloadCP)
	w.Buf = AppendCP(w.Buf, t, attrs...)
	w.End()
}
