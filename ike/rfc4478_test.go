package ike

import (
	"testing"
	"time"
)

// RFC 4478 2: a rekey of the IKE SA, by either side, changes nothing of how long
// the login holds: the heir has the deadline of the SA that it replaces.
func TestRFC4478_2_RekeyMovesNoDeadline(t *testing.T) {
	for _, who := range []string{"gw", "cl"} {
		w := loginWorld(t, "rekey within a login by "+who, 10*time.Minute)
		w.connect()
		g, c := w.one()
		end := [2]int64{g.reauth, c.reauth}
		w.run(3 * time.Minute)
		w.act(map[string]*node{"gw": w.gw, "cl": w.cl}[who], "rekey ike")
		w.run(time.Second)
		if heir, theirs := w.one(); heir.spi == g.spi || heir.reauth != end[0] || theirs.reauth != end[1] {
			t.Errorf("by %s: %s for %s, the login ends at %d and %d, not %d and %d", who, heir.spi, g.spi, heir.reauth, theirs.reauth, end[0], end[1])
		}
		outcome(t, w, 1, 0)
		w.run(7 * time.Minute)
		outcome(t, w, 2, 0)
	}
}
