package propose

import (
	"strings"

	"blackswan/wire"
)

// word is what one word of a proposal text stands for.
type word struct {
	text string
	kind wire.TransformType
	id   wire.TransformID
	bits uint16 // key size, for encryption
}

// words are all words, in the order in which they are shown.
var words = []word{
	{"aes256gcm16", wire.TransformENCR, wire.ENCRAESGCM16, 256},
	{"aes128gcm16", wire.TransformENCR, wire.ENCRAESGCM16, 128},
	{"chacha20poly1305", wire.TransformENCR, wire.ENCRChaCha20Poly1305, 0},
	{"aes256", wire.TransformENCR, wire.ENCRAESCBC, 256},
	{"aes128", wire.TransformENCR, wire.ENCRAESCBC, 128},
	{"sha256", wire.TransformINTEG, wire.INTEGHMACSHA256, 0},
	{"sha384", wire.TransformINTEG, wire.INTEGHMACSHA384, 0},
	{"sha512", wire.TransformINTEG, wire.INTEGHMACSHA512, 0},
	{"prfsha256", wire.TransformPRF, wire.PRFHMACSHA256, 0},
	{"prfsha384", wire.TransformPRF, wire.PRFHMACSHA384, 0},
	{"prfsha512", wire.TransformPRF, wire.PRFHMACSHA512, 0},
	{"x25519", wire.TransformKE, wire.KEX25519, 0},
	{"ecp256", wire.TransformKE, wire.KEECP256, 0},
	{"ecp384", wire.TransformKE, wire.KEECP384, 0},
	{"ecp521", wire.TransformKE, wire.KEECP521, 0},
	{"modp2048", wire.TransformKE, wire.KEMODP2048, 0},
	{"modp3072", wire.TransformKE, wire.KEMODP3072, 0},
	{"modp4096", wire.TransformKE, wire.KEMODP4096, 0},
	{"none", wire.TransformKE, wire.KENone, 0},
	{"esn", wire.TransformESN, wire.ESNYes, 0},
	{"noesn", wire.TransformESN, wire.ESNNo, 0},
}

// weak maps words of other programs that are refused on purpose to the weakest
// word that replaces them (RFC 8247, rule G1).
var weak = map[string]string{
	"des": "aes128", "3des": "aes128", "cast128": "aes128", "blowfish": "aes128", "null": "aes128gcm16",
	"md5": "sha256", "sha": "sha256", "sha1": "sha256", "prfmd5": "prfsha256", "prfsha1": "prfsha256",
	"aes128gcm8": "aes128gcm16", "aes256gcm8": "aes256gcm16", "aes128gcm12": "aes128gcm16", "aes256gcm12": "aes256gcm16",
	"modp768": "modp2048", "modp1024": "modp2048", "modp1536": "modp2048", "modp1024s160": "modp2048",
	"modp2048s224": "modp2048", "modp2048s256": "modp2048", "ecp192": "ecp256", "ecp224": "ecp256",
}

func lookup(text string) (word, bool) {
	for _, w := range words {
		if w.text == text {
			return w, true
		}
	}
	return word{}, false
}

// textOf is the word for a transform; its IANA name if there is no word.
func textOf(kind wire.TransformType, id wire.TransformID, bits uint16) string {
	for _, w := range words {
		if w.kind == kind && w.id == id && w.bits == bits {
			return w.text
		}
	}
	return kind.Name(id)
}

// vocabulary lists the words of some types, for errors.
func vocabulary(kinds ...wire.TransformType) string {
	var list []string
	for _, w := range words {
		for _, k := range kinds {
			if w.kind == k {
				list = append(list, w.text)
			}
		}
	}
	return strings.Join(list, " ")
}
