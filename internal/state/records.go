package state

import (
	"encoding/binary"
	"time"

	"blackswan/spi"
	"blackswan/ticket"
)

// recordVersion begins the records of this file.
const recordVersion = 1

// The node's record is its epoch: version 1 | epoch 4.

func appendEpoch(b []byte, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, recordVersion), epoch)
}

func parseEpoch(b []byte) (uint32, error) {
	if len(b) != 5 || b[0] != recordVersion || binary.BigEndian.Uint32(b[1:]) > spi.MaxEpoch {
		return 0, ErrRecord
	}
	return binary.BigEndian.Uint32(b[1:]), nil
}

// The kept clock: version 1 | Unix seconds 8.

func appendClock(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(append(b, recordVersion), uint64(t.Unix()))
}

func parseClock(b []byte) (time.Time, error) {
	if len(b) != 9 || b[0] != recordVersion {
		return time.Time{}, ErrRecord
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b[1:])), 0), nil
}

// The ring: version 1 | its keys, ticket.KeySize each, oldest first.

func appendRing(b []byte, keys []ticket.Key) []byte {
	b = append(b, recordVersion)
	for _, k := range keys {
		b = k.Append(b)
	}
	return b
}

func parseRing(b []byte) ([]ticket.Key, error) {
	if len(b) == 0 || b[0] != recordVersion || (len(b)-1)%ticket.KeySize != 0 {
		return nil, ErrRecord
	}
	keys := make([]ticket.Key, 0, len(b)/ticket.KeySize)
	for b = b[1:]; len(b) > 0; b = b[ticket.KeySize:] {
		k, err := ticket.ParseKey(b[:ticket.KeySize])
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// The spi secrets: version 1 | current id 1 | for each: id 1 | secret 32.

const (
	spiKeyIDs  = 4
	spiKeySize = 1 + len(spi.Secret{})
)

type spiKeys struct {
	all     []spi.Key
	current uint8
}

func appendSPIKeys(b []byte, keys []spi.Key, current uint8) []byte {
	b = append(b, recordVersion, current)
	for _, k := range keys {
		b = append(append(b, k.ID), k.Secret[:]...)
	}
	return b
}

func parseSPIKeys(b []byte) (spiKeys, error) {
	if len(b) < 2 || b[0] != recordVersion || (len(b)-2)%spiKeySize != 0 {
		return spiKeys{}, ErrRecord
	}
	keys := spiKeys{current: b[1]}
	var seen [spiKeyIDs]bool
	for b = b[2:]; len(b) > 0; b = b[spiKeySize:] {
		id := b[0]
		if id >= spiKeyIDs || seen[id] {
			return spiKeys{}, ErrRecord
		}
		seen[id] = true
		keys.all = append(keys.all, spi.Key{ID: id, Secret: spi.Secret(b[1:spiKeySize])})
	}
	if keys.current >= spiKeyIDs || !seen[keys.current] {
		return spiKeys{}, ErrRecord
	}
	return keys, nil
}

func parseInstallation(b []byte) ([16]byte, error) {
	if len(b) != 16 {
		return [16]byte{}, ErrRecord
	}
	return [16]byte(b), nil
}
