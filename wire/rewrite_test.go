package wire

import (
	"errors"
	"slices"
)

var errLength = errors.New("the header gives another length")

// check parses a whole message, every payload with its own parser.
func check(m []byte) error {
	_, err := rewrite(m)
	return err
}

// rewrite parses a whole message and writes what it has understood.
func rewrite(m []byte) ([]byte, error) {
	h, err := ParseHeader(m)
	if err != nil {
		return nil, err
	}
	if !h.Fits(len(m)) {
		return nil, errLength
	}
	w := NewWriter(nil, h)
	walk := Walk(h.NextPayload, m[HeaderLen:])
	for p, ok := walk.Next(); ok; p, ok = walk.Next() {
		if err := rewritePayload(&w, p); err != nil {
			return nil, err
		}
	}
	return w.Finish(), walk.Err()
}

func rewritePayload(w *Writer, p Payload) error {
	switch p.Type {
	case PayloadSA:
		sa, err := ParseSA(p.Body)
		if err == nil {
			rewriteSA(w, sa, p.Body)
		}
		return err
	case PayloadKE:
		return again(w.KE, ParseKE, p.Body)
	case PayloadIDi, PayloadIDr:
		return again(func(id ID) { w.ID(p.Type, id) }, ParseID, p.Body)
	case PayloadCERT:
		return again(w.Cert, ParseCert, p.Body)
	case PayloadCERTREQ:
		return again(w.CertReq, ParseCertReq, p.Body)
	case PayloadAUTH:
		return again(w.Auth, ParseAuth, p.Body)
	case PayloadNonce:
		return again(w.Nonce, ParseNonce, p.Body)
	case PayloadNotify:
		return again(w.Notify, ParseNotify, p.Body)
	case PayloadDelete:
		return again(w.Delete, ParseDelete, p.Body)
	case PayloadVendorID:
		w.VendorID(p.Body)
	case PayloadTSi, PayloadTSr:
		ts, err := ParseTS(p.Body)
		if err == nil {
			rewriteTS(w, p.Type, ts, p.Body)
		}
		return err
	case PayloadCP:
		return again(func(c CP) { w.CP(c.Type, slices.Collect(c.Attributes())) }, ParseCP, p.Body)
	case PayloadEAP:
		return again(w.EAP, ParseEAP, p.Body)
	case PayloadSK:
		w.StartSK(0)
		w.Buf[w.SKOffset()] = byte(p.Next)
		w.Buf = append(w.Buf, p.Body...)
		w.CloseSK(0)
	case PayloadSKF:
		f, err := ParseSKF(p.Body)
		if err == nil {
			w.StartSKF(p.Next, f.Number, f.Total, 0)
			w.Buf = append(w.Buf, f.Body...)
			w.CloseSK(0)
		}
		return err
	default:
		w.Raw(p.Type, p.Body)
	}
	return nil
}

func again[T any](write func(T), parse func([]byte) (T, error), body []byte) error {
	v, err := parse(body)
	if err == nil {
		write(v)
	}
	return err
}

// rewriteSA copies an SA with attributes that cannot be read.
func rewriteSA(w *Writer, sa SA, body []byte) {
	var specs []ProposalSpec
	for p := range sa.Proposals() {
		spec := ProposalSpec{Num: p.Num, Protocol: p.Protocol, SPI: p.SPI}
		for t := range p.Transforms() {
			if t.Unknown {
				w.Raw(PayloadSA, body)
				return
			}
			spec.Transforms = append(spec.Transforms, t)
		}
		specs = append(specs, spec)
	}
	w.SA(specs...)
}

// rewriteTS copies a TS with selectors of other types.
func rewriteTS(w *Writer, t PayloadType, ts TS, body []byte) {
	if ts.Unknown() != 0 {
		w.Raw(t, body)
		return
	}
	w.TS(t, slices.Collect(ts.Selectors()))
}
