package demo

import (
	"encoding/hex"
	"os"
	"strconv"
	"strings"

	"blackswan/internal/ladder"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// demoSuite is what the proposal of the demo comes to.
var demoSuite = suite.Suite{
	Encr: wire.ENCRAESGCM16, KeyBits: 256, Integ: wire.INTEGNone, PRF: wire.PRFHMACSHA256, KE: wire.KEX25519,
}

// readKeys reads the key log of a client of the demo: SPIi,SPIr,SK_ei,SK_er
// and what an AEAD does not need. Without the file nothing is decrypted.
func readKeys(file string) ladder.KeyRing {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	ring := map[wire.SPIs]ladder.Keys{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(line, ",")
		if len(fields) < 4 {
			continue
		}
		i, erri := strconv.ParseUint(fields[0], 16, 64)
		r, errr := strconv.ParseUint(fields[1], 16, 64)
		ei, errei := hex.DecodeString(fields[2])
		er, errer := hex.DecodeString(fields[3])
		if erri == nil && errr == nil && errei == nil && errer == nil {
			ring[wire.SPIs{I: wire.SPI(i), R: wire.SPI(r)}] = ladder.Keys{Suite: demoSuite, EI: ei, ER: er}
		}
	}
	return func(s wire.SPIs) (ladder.Keys, bool) {
		k, ok := ring[s]
		return k, ok
	}
}
