package kills

import (
	"fmt"
	"strings"
	"testing"

	"blackswan"
)

// agree waits until every client has one SA and the gateway has the same ones,
// and no other.
func (c *crowd) agree(t *testing.T, s *site) {
	t.Helper()
	close(c.stay)
	c.staying.Wait()
	until(t, func() string {
		theirs := map[string]blackswan.SAStatus{}
		for _, sa := range s.established(t) {
			if first, twice := theirs[sa.Peer]; twice {
				return fmt.Sprintf("%s has two SAs at the gateway:\n%+v\n%+v", sa.Peer, first, sa)
			}
			theirs[sa.Peer] = sa
		}
		if len(theirs) != len(c.members) {
			return fmt.Sprintf("%d clients have an SA at the gateway, want %d:\n%s", len(theirs), len(c.members), c.missing(theirs))
		}
		for _, m := range c.members {
			if differs := m.agrees(theirs[m.name()]); differs != "" {
				return differs
			}
		}
		return ""
	})
}

// agrees compares the client's SA with the one that the gateway has for it: IKE
// SPIs and, crosswise, those of the Child SA.
func (m *member) agrees(theirs blackswan.SAStatus) string {
	st := m.client.Status(-1)
	if len(st.SAs) != 1 || st.SAs[0].State != "established" {
		return fmt.Sprintf("%s: want one SA: %+v", m.name(), st.SAs)
	}
	ours := st.SAs[0]
	if ours.SPIi != theirs.SPIi || ours.SPIr != theirs.SPIr || ours.Suite != theirs.Suite ||
		ours.ChildIn == "" || ours.ChildIn != theirs.ChildOut || ours.ChildOut != theirs.ChildIn {
		return fmt.Sprintf("%s: the two sides differ:\n%+v\n%+v", m.name(), ours, theirs)
	}
	return ""
}

// missing is the story of those who have no SA at the gateway.
func (c *crowd) missing(theirs map[string]blackswan.SAStatus) string {
	var b strings.Builder
	for _, m := range c.members {
		if _, there := theirs[m.name()]; !there {
			m.mu.Lock()
			fmt.Fprintf(&b, "%s:\n%s\n", m.name(), strings.Join(m.story, "\n"))
			m.mu.Unlock()
		}
	}
	return b.String()
}

// control shows a ticket that is good in the way in which the stolen ones are
// shown: that they are refused says something.
func (c *crowd) control(t *testing.T, s *site) {
	t.Helper()
	for _, m := range c.members {
		if ticket := m.copyTicket(); ticket != nil {
			if answer := resume(t, s.address(), ticket); answer != "Nr" {
				t.Errorf("%s: its own ticket was shown: the answer is %s, want Nr", m.name(), answer)
			}
			return
		}
	}
	t.Error("no client has a ticket on disk")
}

// report fails the test if what it is about did not happen.
func (c *crowd) report(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	stolen := len(c.stolen.all())
	t.Logf("%d full handshakes, %d crashes detected, %d resumes, %d tickets of deleted SAs",
		c.seen[blackswan.Established], c.seen[blackswan.Detected], c.seen[blackswan.Resumed], stolen)
	for _, kind := range []blackswan.EventKind{blackswan.Established, blackswan.Detected, blackswan.Resumed, blackswan.Down} {
		if c.seen[kind] == 0 {
			t.Errorf("no client was ever %s", kind)
		}
	}
	if stolen == 0 {
		t.Error("no ticket of a deleted SA was shown")
	}
}
