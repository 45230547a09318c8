package state

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/store"
	"blackswan/store/bolt"
	"blackswan/store/memory"
)

// noon is when the tests happen; its epoch is hours since 2026.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const noonEpoch = 59*24 + 12

func boot(t testing.TB, d *Dir, now time.Time) *Boot {
	t.Helper()
	b, err := d.Boot(t.Context(), now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bootOnce opens, boots and closes.
func bootOnce(t testing.TB, path string, opt Options, now time.Time) *Boot {
	t.Helper()
	d := openDir(t, path, opt)
	b := boot(t, d, now)
	closeDir(t, d)
	return b
}

func TestBootFirst(t *testing.T) {
	path, opt := t.TempDir(), machineAt(t, "m1")
	first := bootOnce(t, path, opt, noon)
	if !first.First || len(first.Ring) != 1 || !first.QCD.Kept[first.QCD.Current] || len(first.SPIKeys) != 1 ||
		first.SPICurrent != first.SPIKeys[0].ID || len(first.Notes) != 0 || !first.Clock.IsZero() {
		t.Errorf("first start: %+v", first)
	}
	if first.SPI != (spi.Boot{Epoch: noonEpoch, Base: noonEpoch}) {
		t.Errorf("first start: %+v; want epoch and base %d, nothing earlier to judge", first.SPI, noonEpoch)
	}
	for what, secret := range map[string][]byte{"ring": first.Ring[0].Secret[:], "qcd": first.QCD.Secrets[first.QCD.Current][:],
		"spi": first.SPIKeys[0].Secret[:], "installation": first.Installation[:]} {
		if string(secret) == string(make([]byte, len(secret))) {
			t.Errorf("%s: zeros", what)
		}
	}
	second := bootOnce(t, path, opt, noon.Add(time.Minute))
	if second.First || len(second.Notes) != 0 || !second.Clock.Equal(noon) {
		t.Errorf("second start: %+v", second)
	}
	if second.SPI != (spi.Boot{Epoch: noonEpoch + 1, Base: noonEpoch + 1, Earlier: true}) {
		t.Errorf("second start: %+v", second.SPI)
	}
	if !reflect.DeepEqual(second.Ring, first.Ring) || second.QCD != first.QCD || !reflect.DeepEqual(second.SPIKeys, first.SPIKeys) ||
		second.SPICurrent != first.SPICurrent || second.Installation != first.Installation {
		t.Error("the second start has other secrets")
	}
	if other := bootOnce(t, t.TempDir(), opt, noon); other.Installation == first.Installation || other.Ring[0].Secret == first.Ring[0].Secret {
		t.Error("two installations share a secret")
	}
}

func TestBootRedacted(t *testing.T) {
	b := bootOnce(t, t.TempDir(), machineAt(t, "m1"), noon)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		text := fmt.Sprintf(verb, b)
		for what, secret := range map[string][]byte{"ring": b.Ring[0].Secret[:], "qcd": b.QCD.Secrets[0][:], "spi": b.SPIKeys[0].Secret[:]} {
			for _, form := range []string{fmt.Sprintf("%x", secret[:4]), fmt.Sprintf("%d %d %d %d", secret[0], secret[1], secret[2], secret[3]),
				fmt.Sprintf("%#x, %#x, %#x", secret[0], secret[1], secret[2]), string(secret[:4])} {
				if strings.Contains(text, form) {
					t.Errorf("%s shows the %s secret", verb, what)
				}
			}
		}
	}
}

// TestRuleF6_BootDurable: what Boot and the changes return is in the file by
// then: a copy of it, taken while the store is open, has it.
func TestRuleF6_BootDurable(t *testing.T) {
	path, opt := t.TempDir(), machineAt(t, "m1")
	d := openDir(t, path, opt)
	copied := func() *Boot {
		t.Helper()
		twin := t.TempDir()
		for _, name := range []string{storeFile, keyFile, machineFile} {
			b, err := os.ReadFile(filepath.Join(path, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(twin, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return bootOnce(t, twin, opt, noon)
	}
	b := boot(t, d, noon)
	if c := copied(); c.SPI.Epoch != b.SPI.Epoch+1 || c.First || !reflect.DeepEqual(c.Ring, b.Ring) || c.QCD != b.QCD {
		t.Errorf("after Boot the file holds %+v; want %+v", c, b)
	}
	epoch, err := d.NextEpoch(t.Context())
	if err != nil || epoch != b.SPI.Epoch+1 {
		t.Fatalf("NextEpoch = %d, %v; want %d", epoch, err, b.SPI.Epoch+1)
	}
	if c := copied(); c.SPI.Epoch != epoch+1 {
		t.Errorf("after NextEpoch the file leads to %d; want %d", c.SPI.Epoch, epoch+1)
	}
	ring, err := d.RotateTickets(t.Context(), noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if c := copied(); len(ring) != 2 || !reflect.DeepEqual(c.Ring, ring) {
		t.Errorf("after RotateTickets the file holds %+v; want %+v", c.Ring, ring)
	}
	ring, dropped, err := d.RevokeTickets(t.Context(), noon, rand.Reader)
	if err != nil || dropped != 2 || len(ring) != 1 || ring[0].ID == b.Ring[0].ID {
		t.Fatalf("RevokeTickets = %+v, %d, %v; want one new key for two", ring, dropped, err)
	}
	if c := copied(); !reflect.DeepEqual(c.Ring, ring) {
		t.Errorf("after RevokeTickets the file holds %+v; want %+v", c.Ring, ring)
	}
	g, err := d.RotateQCD(t.Context(), rand.Reader, func(uint8) bool { return false })
	if err != nil || g.Current != 1 || g.Secrets[0] != b.QCD.Secrets[0] {
		t.Fatalf("RotateQCD = %+v, %v", g, err)
	}
	if c := copied(); c.QCD != g {
		t.Errorf("after RotateQCD the file holds %+v; want %+v", c.QCD, g)
	}
	g, err = d.RevokeQCD(t.Context(), 0)
	if c := copied(); err != nil || g.Kept[0] || c.QCD != g {
		t.Errorf("after RevokeQCD the file holds %+v; want %+v, %v", c.QCD, g, err)
	}
	keys, current, err := d.RotateSPI(t.Context(), rand.Reader, func(uint8) bool { return false })
	if err != nil || current != 1 || len(keys) != 2 || keys[0] != b.SPIKeys[0] {
		t.Fatalf("RotateSPI = %v, %d, %v", keys, current, err)
	}
	if c := copied(); c.SPICurrent != 1 || !reflect.DeepEqual(c.SPIKeys, keys) {
		t.Errorf("after RotateSPI the file holds %+v; want %+v", c.SPIKeys, keys)
	}
}

// TestRuleB4_Epoch: it grows whatever the clock says.
func TestRuleB4_Epoch(t *testing.T) {
	path, opt := t.TempDir(), machineAt(t, "m1")
	for _, c := range []struct {
		now  time.Time
		want uint32
	}{
		{noon, noonEpoch},
		{noon, noonEpoch + 1},
		{noon.Add(30 * time.Minute), noonEpoch + 2},
		{time.Unix(0, 0), noonEpoch + 3},
		{noon.Add(100 * time.Hour), noonEpoch + 100},
		{noon, noonEpoch + 101},
	} {
		if b := bootOnce(t, path, opt, c.now); b.SPI.Epoch != c.want || b.SPI.Base != c.want {
			t.Errorf("at %v: %+v; want %d", c.now, b.SPI, c.want)
		}
	}
	d := openDir(t, path, opt)
	if _, err := d.Boot(t.Context(), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), rand.Reader); !errors.Is(err, spi.ErrEpochFull) || !strings.Contains(err.Error(), "2099") {
		t.Errorf("in 2099: %v; want %v and the date", err, spi.ErrEpochFull)
	}
	if b := boot(t, d, noon); b.SPI.Epoch != noonEpoch+102 {
		t.Errorf("after the refusal: %d; want %d", b.SPI.Epoch, noonEpoch+102)
	}
}

func TestRuleB4_Machine(t *testing.T) {
	path, home, away := t.TempDir(), machineAt(t, "m1"), machineAt(t, "m2")
	none := Options{MachineID: []string{filepath.Join(t.TempDir(), "none")}}
	start := func(what string, opt Options, earlier bool) {
		t.Helper()
		b := bootOnce(t, path, opt, noon)
		if b.SPI.Earlier != earlier || (len(b.Notes) == 0) != earlier {
			t.Errorf("%s: earlier epochs judged %v, notes %q; want %v", what, b.SPI.Earlier, b.Notes, earlier)
		}
		for _, n := range b.Notes {
			if !strings.Contains(n, "state adopt") {
				t.Errorf("%s: %q does not say what to do", what, n)
			}
		}
	}
	bootOnce(t, path, home, noon)
	start("at home", home, true)
	start("moved", away, false)
	start("moved, again", away, false)
	start("machine-id gone", none, false)
	start("back home", home, true)
	d := openDir(t, path, away)
	if err := d.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeDir(t, d)
	start("adopted", away, true)
	start("left behind", home, false)
	if err := os.Remove(filepath.Join(path, machineFile)); err != nil {
		t.Fatal(err)
	}
	start("copy gone", away, false)

	path = t.TempDir()
	bootOnce(t, path, none, noon)
	start("never had one", none, false)
	start("has one now", home, false)
}

// TestBootMissing: a record that is gone, forged or not one is a refusal that
// names it, and nothing is made in its place.
func TestBootMissing(t *testing.T) {
	for _, key := range [][]byte{nodeKey, ringKey, qcdKey, spiKey, installKey, clockKey} {
		for name, damage := range map[string]func(raw store.Store, sealed *Sealed) error{
			"missing": func(raw store.Store, _ *Sealed) error {
				return raw.Apply(t.Context(), []store.Op{{Key: key}}, store.Durable)
			},
			"forged": func(raw store.Store, _ *Sealed) error {
				b, err := raw.Get(t.Context(), key)
				if err == nil {
					b[len(b)-1] ^= 1
					err = raw.Apply(t.Context(), []store.Op{{Key: key, Value: b}}, store.Durable)
				}
				return err
			},
			"cut": func(_ store.Store, sealed *Sealed) error {
				b, err := sealed.Get(t.Context(), key)
				if err == nil {
					err = sealed.Apply(t.Context(), []store.Op{{Key: key, Value: b[:len(b)-1]}}, store.Durable)
				}
				return err
			},
			"empty": func(_ store.Store, sealed *Sealed) error {
				return sealed.Apply(t.Context(), []store.Op{{Key: key, Value: []byte{}}}, store.Durable)
			},
		} {
			raw := memory.Open()
			opt := machineAt(t, "m1")
			opt.Engine = func(string, bool) (store.Store, error) { return raw, nil }
			d := openDir(t, t.TempDir(), opt)
			boot(t, d, noon)
			if err := damage(raw, d.store); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := d.Boot(t.Context(), noon, rand.Reader)
				if err == nil || !strings.Contains(err.Error(), string(key)) {
					t.Errorf("%s %s: %v; want a refusal that names it", key, name, err)
				}
				if name == "missing" && !errors.Is(err, errMissing) {
					t.Errorf("%s %s: %v; want what to do", key, name, err)
				}
			}
		}
	}
}

// failing is a store whose writes fail from the n-th on.
type failing struct {
	store.Store
	left int
}

var errDisk = errors.New("the disk is gone")

func (f *failing) Apply(ctx context.Context, ops []store.Op, d store.Durability) error {
	if f.left--; f.left < 0 {
		return errDisk
	}
	return f.Store.Apply(ctx, ops, d)
}

func (f *failing) Update(ctx context.Context, key, old, new []byte, ttl time.Duration) error {
	if f.left--; f.left < 0 {
		return errDisk
	}
	return f.Store.Update(ctx, key, old, new, ttl)
}

// TestRuleF6_NothingBeforeTheDisk: when the disk fails, no epoch, key or
// revocation is handed out, and a first start stays one.
func TestRuleF6_NothingBeforeTheDisk(t *testing.T) {
	path, opt := t.TempDir(), machineAt(t, "m1")
	disk := &failing{}
	opt.Engine = func(path string, mustExist bool) (s store.Store, err error) {
		disk.Store, err = bolt.Open(path, mustExist)
		return disk, err
	}
	for range 2 {
		d := openDir(t, path, opt)
		if b, err := d.Boot(t.Context(), noon, rand.Reader); !errors.Is(err, errDisk) || b != nil {
			t.Fatalf("Boot = %v, %v; want %v", b, err, errDisk)
		}
		closeDir(t, d)
	}
	disk.left = 1
	d := openDir(t, path, opt)
	if b := boot(t, d, noon); !b.First || b.SPI.Epoch != noonEpoch {
		t.Errorf("the first start that worked: %+v", b)
	}
	never := func(uint8) bool { return false }
	for name, call := range map[string]func() error{
		"Boot":          func() error { _, err := d.Boot(t.Context(), noon, rand.Reader); return err },
		"NextEpoch":     func() error { _, err := d.NextEpoch(t.Context()); return err },
		"RotateTickets": func() error { _, err := d.RotateTickets(t.Context(), noon, rand.Reader); return err },
		"PruneTickets":  func() error { _, err := d.PruneTickets(t.Context(), noon); return err },
		"RevokeTickets": func() error { _, _, err := d.RevokeTickets(t.Context(), noon, rand.Reader); return err },
		"RotateQCD":     func() error { _, err := d.RotateQCD(t.Context(), rand.Reader, never); return err },
		"RevokeQCD":     func() error { _, err := d.RevokeQCD(t.Context(), 1); return err },
		"RotateSPI":     func() error { _, _, err := d.RotateSPI(t.Context(), rand.Reader, never); return err },
		"KeepClock":     func() error { return d.KeepClock(t.Context(), noon.Add(time.Hour)) },
	} {
		if err := call(); !errors.Is(err, errDisk) {
			t.Errorf("%s = %v; want %v", name, err, errDisk)
		}
	}
	disk.left = 1000
	closeDir(t, d)
	if b := bootOnce(t, path, opt, noon); b.SPI.Epoch != noonEpoch+1 || b.QCD.Current != 0 || len(b.Ring) != 1 {
		t.Errorf("after failures: %+v", b)
	}
}

// TestBootRandomness: without randomness nothing is made.
func TestBootRandomness(t *testing.T) {
	for n := 0; ; n += 8 {
		d := openDir(t, t.TempDir(), machineAt(t, "m1"))
		_, err := d.Boot(t.Context(), noon, io.LimitReader(rand.Reader, int64(n)))
		if err == nil {
			if n < 32*3+16 {
				t.Errorf("%d octets made four secrets", n)
			}
			break
		}
		if b := boot(t, d, noon); !b.First || b.SPI.Epoch != noonEpoch {
			t.Errorf("%d octets: something was stored: %+v", n, b)
		}
		if _, err := d.RotateQCD(t.Context(), strings.NewReader("short"), func(uint8) bool { return false }); err == nil {
			t.Error("RotateQCD without randomness")
		}
		if _, _, err := d.RotateSPI(t.Context(), strings.NewReader("short"), func(uint8) bool { return false }); err == nil {
			t.Error("RotateSPI without randomness")
		}
		if _, err := d.RotateTickets(t.Context(), noon, strings.NewReader("short")); err == nil {
			t.Error("RotateTickets without randomness")
		}
	}
}

func TestRuleB2_Rotate(t *testing.T) {
	d := openDir(t, t.TempDir(), machineAt(t, "m1"))
	b := boot(t, d, noon)
	named := func(n uint8) func(uint8) bool { return func(asked uint8) bool { return asked == n } }
	if _, err := d.RotateQCD(t.Context(), rand.Reader, named(1)); !errors.Is(err, qcd.ErrLive) {
		t.Errorf("RotateQCD over live SAs = %v; want %v", err, qcd.ErrLive)
	}
	if _, err := d.RevokeQCD(t.Context(), 0); !errors.Is(err, qcd.ErrCurrent) {
		t.Errorf("RevokeQCD of the current = %v; want %v", err, qcd.ErrCurrent)
	}
	if _, _, err := d.RotateSPI(t.Context(), rand.Reader, named(1)); !errors.Is(err, ErrSPIKeyLive) {
		t.Errorf("RotateSPI over live SAs = %v; want %v", err, ErrSPIKeyLive)
	}
	for i := range uint8(6) {
		keys, current, err := d.RotateSPI(t.Context(), rand.Reader, named(i%4))
		if err != nil || current != (i+1)%4 || len(keys) != min(int(i)+2, 4) {
			t.Fatalf("rotation %d: %v, %d, %v", i, keys, current, err)
		}
		if _, err := spi.New(keys, current, 0, 1, 0); err != nil {
			t.Errorf("rotation %d: %v", i, err)
		}
		if i == 3 && keys[len(keys)-1].Secret == b.SPIKeys[0].Secret {
			t.Error("id 0 came back with its old secret")
		}
	}
}

func TestBeforeBoot(t *testing.T) {
	d := openDir(t, t.TempDir(), machineAt(t, "m1"))
	if _, _, err := d.RevokeTickets(t.Context(), noon, rand.Reader); err == nil || !strings.Contains(err.Error(), "start the gateway once") {
		t.Errorf("RevokeTickets before the first start = %v", err)
	}
	if err := d.KeepClock(t.Context(), noon); err == nil {
		t.Error("KeepClock before the first start")
	}
	if b := boot(t, d, noon); !b.First {
		t.Error("that was no first start any more")
	}
}
