package blackswan

import (
	"bytes"
	"crypto/rand"
	"testing"
	"testing/synctest"
	"time"

	"blackswan/ike"
	"blackswan/internal/suite"
	"blackswan/wire"
)

// A responder's pair serves for a second and no longer; both ends agree with
// it; an initiator's pair is never shared.
func TestRFC7296_2_12_PairOfTheMoment(t *testing.T) {
	now := time.Now()
	var publics, secrets [][]byte
	for i, at := range []time.Duration{0, 900 * time.Millisecond, 1100 * time.Millisecond} {
		mine, err := suite.NewKeyPair(wire.KEX25519, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var a ike.Answer
		agree(&ike.Question{Kind: ike.AskAgree, Group: wire.KEX25519, Public: mine.Public()}, now.Add(at), &a)
		theirs, err := mine.Shared(a.Public)
		if a.Err != nil || err != nil || !bytes.Equal(theirs, a.Shared) {
			t.Fatalf("%d: the ends disagree: %v %v", i, a.Err, err)
		}
		publics, secrets = append(publics, a.Public), append(secrets, a.Shared)
	}
	if !bytes.Equal(publics[0], publics[1]) || bytes.Equal(publics[1], publics[2]) {
		t.Error("the pair does not serve for a second")
	}
	if bytes.Equal(secrets[0], secrets[1]) {
		t.Error("two initiators, one secret")
	}
	synctest.Test(t, func(t *testing.T) {
		var c pairCache
		if _, err := c.get(wire.KEECP256, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, left := range []int{1, 0} {
			c.mu.Lock()
			if n := len(c.made); n != left {
				t.Errorf("%d pairs are in memory, want %d", n, left)
			}
			c.mu.Unlock()
			time.Sleep(pairLife)
			synctest.Wait()
		}
	})
}
