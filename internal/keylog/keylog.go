// Package keylog writes the keys of IKE SAs for Wireshark: the lines of its
// ikev2_decryption_table. Copied into a Wireshark profile's file of that name,
// or given to tshark line by line as -o 'uat:ikev2_decryption_table:LINE', they
// open every message of a capture. Whoever has the file reads the traffic.
package keylog

import (
	"encoding/hex"
	"fmt"
	"os"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// Log appends to a file. It may be used by several goroutines and processes at
// once: a line is one write.
type Log struct{ file *os.File }

// New opens the file for appending and makes it with mode 0600 if it is not
// there. One that others may read is refused.
func New(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keylog: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s has mode %04o, and keys will lie in it: chmod 0600 it", path, info.Mode().Perm())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("keylog: %w", err)
	}
	return &Log{f}, nil
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }

// SA writes one IKE SA: its SPIs, SK_ei and SK_er with the salt of an AEAD
// behind the key, SK_ai and SK_ar (empty for an AEAD).
func (l *Log) SA(spii, spir uint64, s suite.Suite, ei, er, ai, ar []byte) error {
	_, err := l.file.Write(line(spii, spir, s, ei, er, ai, ar))
	if err != nil {
		return fmt.Errorf("keylog: %w", err)
	}
	return nil
}

// line is SPIi,SPIr,SK_ei,SK_er,"encryption",SK_ai,SK_ar,"integrity", binary
// values in hexadecimal. A suite that Wireshark cannot decrypt becomes a
// comment: a name that it does not know would make it refuse the whole file.
func line(spii, spir uint64, s suite.Suite, ei, er, ai, ar []byte) []byte {
	encr, ok := encrNames[cipher{s.Encr, s.KeyBits}]
	integ, known := integNames[s.Integ]
	if !ok || !known {
		return fmt.Appendf(nil, "# %016x,%016x: Wireshark does not decrypt %v\n", spii, spir, s)
	}
	return fmt.Appendf(nil, "%016x,%016x,%s,%s,%q,%s,%s,%q\n", spii, spir,
		hex.EncodeToString(ei), hex.EncodeToString(er), encr, hex.EncodeToString(ai), hex.EncodeToString(ar), integ)
}

type cipher struct {
	encr wire.TransformID
	bits uint16
}

// encrNames and integNames are Wireshark's own words. It has none for
// ChaCha20-Poly1305.
var (
	encrNames = map[cipher]string{
		{wire.ENCRAESGCM16, 128}: "AES-GCM-128 with 16 octet ICV [RFC5282]",
		{wire.ENCRAESGCM16, 256}: "AES-GCM-256 with 16 octet ICV [RFC5282]",
		{wire.ENCRAESCBC, 128}:   "AES-CBC-128 [RFC3602]",
		{wire.ENCRAESCBC, 256}:   "AES-CBC-256 [RFC3602]",
	}
	integNames = map[wire.TransformID]string{
		wire.INTEGNone:       "NONE [RFC4306]",
		wire.INTEGHMACSHA256: "HMAC_SHA2_256_128 [RFC4868]",
		wire.INTEGHMACSHA384: "HMAC_SHA2_384_192 [RFC4868]",
		wire.INTEGHMACSHA512: "HMAC_SHA2_512_256 [RFC4868]",
	}
)
