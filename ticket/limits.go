package ticket

import (
	"errors"
	"math"
	"time"
)

// Defaults of Limits.
const (
	DefaultLife      = 24 * time.Hour
	DefaultSinceKE   = 24 * time.Hour
	DefaultSinceAuth = 7 * 24 * time.Hour
)

// Limits bound a ticket's life (RFC 5723 6.2). Zero is the default: no ticket
// is without end.
type Limits struct {
	Life      time.Duration // since it was issued; no longer than the life of the IKE SA
	SinceKE   time.Duration // since the last key exchange
	SinceAuth time.Duration // since the last full authentication
}

// What Usable says besides ErrExpired.
var (
	ErrStaleKE     = errors.New("ticket: last key exchange too long ago")
	ErrTooOld      = errors.New("ticket: last full authentication too long ago")
	ErrReauth      = errors.New("ticket: re-authentication is due")
	ErrCertExpired = errors.New("ticket: peer's certificate chain has expired")
)

// Lifetime is how many seconds a ticket of s, granted now, lives: the least of
// all bounds. It reports false if one of them has passed. The caller puts it
// into s.Expires and TICKET_LT_OPAQUE.
func (l Limits) Lifetime(s *Session, now int64) (uint32, bool) {
	life := or(l.Life, DefaultLife) //rfc:5723-6.2-6
	life = min(life, s.FullAuth+or(l.SinceAuth, DefaultSinceAuth)-now)
	life = min(life, s.LastKE+or(l.SinceKE, DefaultSinceKE)-now)
	if s.Reauth != 0 {
		life = min(life, s.Reauth-now) //rfc:5723-6.2-5
	}
	if s.PeerCert.NotAfter != 0 {
		life = min(life, s.PeerCert.NotAfter-now)
	}
	if life <= 0 {
		return 0, false
	}
	return uint32(min(life, math.MaxUint32)), true
}

// Usable judges s again when its ticket is shown: all that time can rot, under
// the limits of now. Its error is ErrExpired, ErrReauth, ErrStaleKE, ErrTooOld
// or ErrCertExpired.
func (l Limits) Usable(s *Session, now int64) error {
	switch {
	case now >= s.Expires, now >= s.Issued+or(l.Life, DefaultLife):
		return ErrExpired
	case s.Reauth != 0 && now >= s.Reauth:
		return ErrReauth
	case now >= s.LastKE+or(l.SinceKE, DefaultSinceKE):
		return ErrStaleKE
	case now >= s.FullAuth+or(l.SinceAuth, DefaultSinceAuth):
		return ErrTooOld
	case s.PeerCert.NotAfter != 0 && now >= s.PeerCert.NotAfter:
		return ErrCertExpired
	}
	return nil
}

func or(d, standard time.Duration) int64 {
	if d <= 0 {
		d = standard
	}
	return seconds(d)
}
