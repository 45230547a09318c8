package ike

// The response cache, RFC 7296 2.1: the last response of each SA, for copies of
// its request. It lives for minutes, and all of them together have a bound.

// cache keeps msgs as sa's last response.
func (e *Endpoint) cache(sa *SA, msgs []byte) {
	e.uncache(sa)
	if cap(sa.resp) < len(msgs) || cap(sa.resp) > 2*len(msgs) {
		sa.resp = make([]byte, 0, len(msgs))
	}
	sa.resp = append(sa.resp[:0], msgs...)
	sa.cacheAt = e.now + int64(e.cfg.Timers.CacheLife)
	e.counts.cached += cap(sa.resp)
	e.boundCache(sa)
}

// uncache takes sa's response out of the sum; its memory may be used again.
func (e *Endpoint) uncache(sa *SA) {
	if sa.cacheAt != 0 {
		e.counts.cached -= cap(sa.resp)
		sa.cacheAt = 0
	}
}

// forgetResponse leaves copies of sa's last request unanswered.
func (e *Endpoint) forgetResponse(sa *SA) {
	if sa.cacheAt != 0 {
		e.uncache(sa)
		sa.resp = nil
	}
}

// boundCache forgets responses until the rest is within the bound, those of one
// slot after the other: it comes back to a slot when all the others had theirs.
// The newest stays, whatever its size.
func (e *Endpoint) boundCache(newest *SA) {
	for n := len(e.slots); n > 0 && e.counts.cached > e.cfg.Limits.Responses; n-- {
		e.sweep = (e.sweep + 1) % len(e.slots)
		if sa := e.slots[e.sweep].sa; sa != nil && sa != newest {
			e.forgetResponse(sa)
		}
	}
}
