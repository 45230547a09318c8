package ike

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"blackswan/qcd"
	"blackswan/wire"
)

// What Rockhopper VPN 0.2, the other implementation of RFC 6290, said in clear
// after a kill -9, and the token of 64 octets that it had given in IKE_AUTH or,
// second, in the response of an IKE rekey.
var rockhopper = []struct {
	name       string
	spis       wire.SPIs
	token, raw string
}{
	{"full", wire.SPIs{I: 0x6be0f6b9059bef42, R: 0x792a4c849e3e0450},
		"9dfef4b64f4916b74db5826f9d2e6e990cd0719b1d85337b27166155406db12d11701cbe94229fecf2599c60fda5ee5204ab06c0bbc7f5e6f9f8f819e836da7f",
		"6be0f6b9059bef42792a4c849e3e045029202520000000030000006c290000080000000400000048000040239dfef4b64f4916b74db5826f9d2e6e990cd0719b1d85337b27166155406db12d11701cbe94229fecf2599c60fda5ee5204ab06c0bbc7f5e6f9f8f819e836da7f"},
	{"rekeyed", wire.SPIs{I: 0x0b63fe319edfe9bd, R: 0x09c62fa8514aee6d},
		"1d7674336dfb90d24a8afc2c01cb72fc4564896a5946f2ce88228b8b3d45e52c912d6c9b056f2789e5289a452e212f9fd545fce7c31bf277b4b0985ab09f1725",
		"0b63fe319edfe9bd09c62fa8514aee6d29202520000000010000006c290000080000000400000048000040231d7674336dfb90d24a8afc2c01cb72fc4564896a5946f2ce88228b8b3d45e52c912d6c9b056f2789e5289a452e212f9fd545fce7c31bf277b4b0985ab09f1725"},
}

func TestForeignQCDReply(t *testing.T) {
	for _, v := range rockhopper {
		for _, given := range []bool{true, false} {
			w := newWorld(t, v.name)
			w.connect()
			_, c := w.one()
			w.cl.e.ours.Delete(c.ours(), c.slot+1) // the SA of the capture, in our table
			c.spi = v.spis
			w.cl.e.ours.Put(c.ours(), c.slot+1)
			tok, err := hex.DecodeString(v.token)
			raw, rerr := hex.DecodeString(v.raw)
			if err != nil || rerr != nil {
				t.Fatal(err, rerr)
			}
			if !given {
				tok[63] ^= 1
			}
			c.told.token, _ = qcd.DigestOf(tok)
			w.cl.e.Packet(w.now, Packet{Local: clAddr, Remote: netip.MustParseAddrPort("10.99.0.1:500"), Data: raw})
			w.drain(w.cl)
			if found := w.cl.count(EventDetected) == 1; found != given {
				t.Errorf("%s: detected %v, want %v\n%s", v.name, found, given, w.dump())
			}
		}
	}
}
