package propose

import (
	"math/rand/v2"
	"slices"
	"testing"

	"blackswan/internal/suite"
	"blackswan/wire"
)

// Whatever two sides are configured with: what is selected is valid, in both
// lists, and a choice exists exactly if trying all suites finds one.
func TestSelectIKEAgainstAllSuites(t *testing.T) {
	r := rand.New(rand.NewPCG(72, 96))
	agreed := 0
	for range 3000 {
		theirs, mine := randomIKE(r), randomIKE(r)
		have := wire.KENone
		if r.IntN(2) == 0 {
			have = theirs[0].KE[0]
		}
		sa := offered(t, Specs(theirs, nil)...)
		s, num, err := SelectIKE(sa, mine, have)
		found, withHave := false, false
		for _, c := range allSuites() {
			if Permits(theirs, c) && Permits(mine, c) {
				found = true
				withHave = withHave || c.KE == have
			}
		}
		if found != (err == nil) {
			t.Fatalf("theirs %v, mine %v: %v, but a common suite: %v", theirs, mine, err, found)
		}
		if err != nil {
			continue
		}
		agreed++
		if s.Valid() != nil || !Permits(theirs, s) || !Permits(mine, s) {
			t.Fatalf("theirs %v, mine %v: selected %v (%v)", theirs, mine, s, s.Valid())
		}
		if withHave != (s.KE == have) {
			t.Fatalf("theirs %v, mine %v, group %d: selected %v", theirs, mine, have, s)
		}
		if got, err := CheckIKE(offered(t, SpecOf(s, num)), theirs); err != nil || got != s {
			t.Fatalf("theirs %v, mine %v: the initiator refuses %v: %v", theirs, mine, s, err)
		}
	}
	if agreed < 300 || agreed > 2700 {
		t.Errorf("%d of 3000 pairs agreed: the test does not see both sides", agreed)
	}
}

// randomIKE makes one or two entries out of random words.
func randomIKE(r *rand.Rand) (list []IKE) {
	some := func(all []wire.TransformID) []wire.TransformID {
		all = slices.Clone(all)
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return all[:1+r.IntN(2)]
	}
	for range 1 + r.IntN(2) {
		encr := slices.Clone(ciphers[:])
		r.Shuffle(len(encr), func(i, j int) { encr[i], encr[j] = encr[j], encr[i] })
		list = append(list, IKE{Encr: encr[:1+r.IntN(3)], Integ: some(integs()), PRF: some(prfs()), KE: some(groups()[:4])})
	}
	return list
}

func allSuites() (list []suite.Suite) {
	for _, a := range ciphers {
		beside := integs()
		if a.aead() {
			beside = ids(wire.INTEGNone)
		}
		for _, integ := range beside {
			for _, prf := range prfs() {
				for _, ke := range groups() {
					list = append(list, suite.Suite{Encr: a.ID, KeyBits: a.KeyBits, Integ: integ, PRF: prf, KE: ke})
				}
			}
		}
	}
	return list
}

// Permits is what selection is measured by above; here it is measured itself.
func TestPermits(t *testing.T) {
	list := ikeOf(t, "aes256gcm16-aes128-sha256-x25519", "aes256gcm16-sha384-ecp256")
	for text, want := range map[string]bool{
		"aes256gcm16-sha256-x25519":      true,
		"aes128-sha256-x25519":           true,
		"aes256gcm16-sha384-ecp256":      true,
		"aes256gcm16-sha384-x25519":      false, // mixed from two entries
		"aes128gcm16-sha256-x25519":      false,
		"aes128-sha512-prfsha256-x25519": false,
		"aes256gcm16-sha256-modp2048":    false,
		"chacha20poly1305-sha256-x25519": false,
	} {
		if got := Permits(list, suiteOf(t, text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if s := suiteOf(t, "aes256gcm16-sha256-x25519"); Permits(nil, s) {
		t.Errorf("an empty list permits %v", s)
	}
}
