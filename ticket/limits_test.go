package ticket

import (
	"math"
	"testing"
	"time"
)

func TestRFC5723_6_2_Lifetime(t *testing.T) {
	fresh := Session{FullAuth: start, LastKE: start}
	with := func(set func(*Session)) Session { s := fresh; set(&s); return s }
	for _, c := range []struct {
		name   string
		limits Limits
		s      Session
		want   uint32
		ok     bool
	}{
		{"6.2: never without end", Limits{}, fresh, 86400, true},
		{"configured", Limits{Life: time.Hour}, fresh, 3600, true},
		{"negative is the default", Limits{Life: -1}, fresh, 86400, true},
		{"6.2: re-authentication", Limits{Life: time.Hour}, with(func(s *Session) { s.Reauth = start + 600 }), 600, true},
		{"re-authentication later", Limits{Life: time.Hour}, with(func(s *Session) { s.Reauth = start + 6000 }), 3600, true},
		{"re-authentication now", Limits{}, with(func(s *Session) { s.Reauth = start }), 0, false},
		{"D8: 24 h since KE", Limits{}, with(func(s *Session) { s.LastKE -= 86400 - 30 }), 30, true},
		{"D8: KE too old", Limits{}, with(func(s *Session) { s.LastKE -= 86400 }), 0, false},
		{"D8: KE, configured", Limits{SinceKE: time.Minute}, fresh, 60, true},
		{"D8: 7 days", Limits{}, with(func(s *Session) { s.FullAuth -= 7*86400 - 40 }), 40, true},
		{"D8: older than 7 days", Limits{}, with(func(s *Session) { s.FullAuth -= 8 * 86400 }), 0, false},
		{"D8: age, configured", Limits{SinceAuth: time.Minute}, fresh, 60, true},
		{"certificate", Limits{}, with(func(s *Session) { s.PeerCert.NotAfter = start + 50 }), 50, true},
		{"certificate expired", Limits{}, with(func(s *Session) { s.PeerCert.NotAfter = start - 1 }), 0, false},
		{"no key exchange at all", Limits{}, with(func(s *Session) { s.LastKE = 0 }), 0, false},
		{"32 bits", Limits{math.MaxInt64, math.MaxInt64, math.MaxInt64}, fresh, math.MaxUint32, true},
	} {
		got, ok := c.limits.Lifetime(&c.s, start)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v; want %d, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestRFC5723_6_2_UsableAgainAtTheResume(t *testing.T) {
	base := Session{Issued: start, Expires: start + 3600, FullAuth: start, LastKE: start}
	with := func(set func(*Session)) Session { s := base; set(&s); return s }
	for _, c := range []struct {
		name   string
		limits Limits
		s      Session
		after  int64 // seconds
		want   error
	}{
		{"good", Limits{}, base, 0, nil},
		{"last second", Limits{}, base, 3599, nil},
		{"expired", Limits{}, base, 3600, ErrExpired},
		{"a policy that was tightened", Limits{Life: time.Minute}, base, 60, ErrExpired},
		{"re-authentication", Limits{}, with(func(s *Session) { s.Reauth = start + 60 }), 60, ErrReauth},
		{"before re-authentication", Limits{}, with(func(s *Session) { s.Reauth = start + 60 }), 59, nil},
		{"D8: KE", Limits{SinceKE: time.Minute}, base, 60, ErrStaleKE},
		{"D8: before", Limits{SinceKE: time.Minute, SinceAuth: time.Minute}, base, 59, nil},
		{"D8: age", Limits{SinceAuth: time.Minute}, base, 60, ErrTooOld},
		{"certificate", Limits{}, with(func(s *Session) { s.PeerCert.NotAfter = start + 60 }), 60, ErrCertExpired},
		{"certificate still good", Limits{}, with(func(s *Session) { s.PeerCert.NotAfter = start + 60 }), 59, nil},
		{"empty session", Limits{}, Session{}, 0, ErrExpired},
	} {
		if got := c.limits.Usable(&c.s, start+c.after); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// What Lifetime grants, Usable accepts to the last second, and no longer.
func TestLifetimeAndUsableAgree(t *testing.T) {
	for _, limits := range []Limits{{}, {Life: time.Hour}, {SinceKE: time.Hour}, {SinceAuth: time.Hour}} {
		for _, ago := range []int64{0, 100, 3599} {
			s := Session{Issued: start, FullAuth: start - ago, LastKE: start - ago, Reauth: start + 50_000}
			s.PeerCert.NotAfter = start + 70_000
			life, ok := limits.Lifetime(&s, start)
			if !ok {
				t.Fatalf("%+v, %d s ago: no lifetime", limits, ago)
			}
			s.Expires = start + int64(life)
			if err := limits.Usable(&s, s.Expires-1); err != nil {
				t.Errorf("%+v, %d s ago: %v within %d s", limits, ago, err, life)
			}
			s.Expires += 10 // who forgets it would still be refused
			if err := limits.Usable(&s, start+int64(life)); err == nil {
				t.Errorf("%+v, %d s ago: usable after %d s", limits, ago, life)
			}
		}
	}
}
