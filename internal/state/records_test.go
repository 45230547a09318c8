package state

import (
	"bytes"
	"crypto/rand"
	"reflect"
	"testing"
	"time"

	"blackswan/spi"
	"blackswan/ticket"
)

func TestRecords(t *testing.T) {
	ring, err := ticket.Rotate(nil, 1_800_000_000, time.Hour, time.Hour, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if ring, err = ticket.Rotate(ring, 1_800_000_100, time.Hour, time.Hour, rand.Reader); err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]ticket.Key{{}, ring[:1], ring} {
		if got, err := parseRing(appendRing(nil, keys)); err != nil || !reflect.DeepEqual(got, keys) {
			t.Errorf("%d keys came back as %d, %v", len(keys), len(got), err)
		}
	}
	two := []spi.Key{{ID: 3, Secret: spi.Secret{1}}, {ID: 0, Secret: spi.Secret{2}}}
	spiRecord := appendSPIKeys(nil, two, 3)
	if got, err := parseSPIKeys(spiRecord); err != nil || got.current != 3 || !reflect.DeepEqual(got.all, two) {
		t.Errorf("%v, %v", got, err)
	}
	for name, c := range map[string]struct {
		good  []byte
		parse func([]byte) error
		also  []int // lengths of strict prefixes that are records of their own
	}{
		"epoch":        {appendEpoch(nil, spi.MaxEpoch), func(b []byte) error { _, err := parseEpoch(b); return err }, nil},
		"clock":        {appendClock(nil, noon), func(b []byte) error { _, err := parseClock(b); return err }, nil},
		"ring":         {appendRing(nil, ring), func(b []byte) error { _, err := parseRing(b); return err }, []int{1, 1 + ticket.KeySize}},
		"spi":          {spiRecord, func(b []byte) error { _, err := parseSPIKeys(b); return err }, []int{2 + spiKeySize}},
		"installation": {make([]byte, 16), func(b []byte) error { _, err := parseInstallation(b); return err }, nil},
	} {
		if err := c.parse(c.good); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		allowed := make(map[int]bool)
		for _, n := range c.also {
			allowed[n] = true
		}
		for n := range c.good {
			if (c.parse(c.good[:n]) == nil) != allowed[n] {
				t.Errorf("%s: %d of %d octets: taken %v", name, n, len(c.good), !allowed[n])
			}
		}
		if c.parse(append(c.good[:len(c.good):len(c.good)], 0)) == nil {
			t.Errorf("%s: one octet more was taken", name)
		}
		if name == "installation" {
			continue
		}
		other := bytes.Clone(c.good)
		other[0] = recordVersion + 1
		if c.parse(other) == nil {
			t.Errorf("%s: version %d was taken", name, other[0])
		}
	}
	for name, b := range map[string][]byte{
		"epoch beyond 18 bits": appendEpoch(nil, spi.MaxEpoch+1),
		"no current key":       appendSPIKeys(nil, two, 1),
		"current id 4":         appendSPIKeys(nil, two, 4),
		"an id twice":          appendSPIKeys(nil, []spi.Key{{ID: 1}, {ID: 1}}, 1),
		"key id 4":             appendSPIKeys(nil, []spi.Key{{ID: 1}, {ID: 4}}, 1),
		"no keys":              appendSPIKeys(nil, nil, 0),
	} {
		_, errEpoch := parseEpoch(b)
		_, errSPI := parseSPIKeys(b)
		if errEpoch == nil || errSPI == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzParseSPIKeys(f *testing.F) {
	f.Add(appendSPIKeys(nil, []spi.Key{{ID: 1}, {ID: 2}}, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseSPIKeys(b)
		if err != nil {
			return
		}
		if got := appendSPIKeys(nil, keys.all, keys.current); !bytes.Equal(got, b) {
			t.Fatalf("%x came back as %x", b, got)
		}
		if _, err := spi.New(keys.all, keys.current, 0, 1, 0); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParseRing(f *testing.F) {
	ring, err := ticket.Rotate(nil, 1_800_000_000, time.Hour, time.Hour, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendRing(nil, ring))
	f.Add([]byte{recordVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseRing(b)
		if err == nil && !bytes.Equal(appendRing(nil, keys), b) {
			t.Fatalf("%x came back as %x", b, appendRing(nil, keys))
		}
	})
}
