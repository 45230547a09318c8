package ike

// Half-open resumes of one ticket: at most one of them becomes an SA (rules D7, E3).

// maxHalfResumes of one ticket; a ninth drops the oldest (rule E3).
const maxHalfResumes = 8

// link, unlink and halfResumesOf keep the half-open resumes of one lineage in
// a chain through their slots (rule E3).
func (e *Endpoint) link(sa *SA) {
	sa.half.next = e.claims.Put(sa.lineage, sa.slot+1)
}

func (e *Endpoint) unlink(sa *SA) {
	at := e.claims.Get(sa.lineage)
	if at == sa.slot+1 {
		if sa.half.next == 0 {
			e.claims.Delete(sa.lineage, at)
		} else {
			e.claims.Put(sa.lineage, sa.half.next)
		}
		return
	}
	for at != 0 {
		hf := e.slots[at-1].sa.half
		if hf.next == sa.slot+1 {
			hf.next = sa.half.next
			return
		}
		at = hf.next
	}
}

func (e *Endpoint) halfResumesOf(lineage [16]byte) (n int) {
	for at := e.claims.Get(lineage); at != 0; at = e.slots[at-1].sa.half.next {
		n++
	}
	return n
}

func (e *Endpoint) dropOldestHalf(lineage [16]byte) {
	at := e.claims.Get(lineage)
	for e.slots[at-1].sa.half.next != 0 {
		at = e.slots[at-1].sa.half.next
	}
	e.drop(DropFull)
	e.discard(e.slots[at-1].sa)
}
