package blackswan

import (
	"runtime"
	"sync"
)

// pool does slow work for the shards of a process: key agreements, signatures,
// chains of certificates. Its workers come with work and go without, so an idle
// client costs none.
type pool struct {
	mu      sync.Mutex
	waiting []job
	head    int
	working int
	workers int // at most
	room    int // jobs that may wait
}

// job is slow work for somebody. When of is closed nobody waits for it any more.
type job struct {
	of <-chan struct{}
	do func()
}

func (j *job) wanted() bool {
	select {
	case <-j.of:
		return false
	default:
		return true
	}
}

// questions is the pool of the process: its CPUs are shared by all.
var questions = &pool{workers: runtime.NumCPU(), room: poolRoom}

// poolRoom is how many jobs wait at most. A peer whose job finds no room meets
// silence (rule E7).
const poolRoom = 4096

// take has a job done, unless it is in vain when its turn comes. It reports false
// when too much waits.
func (p *pool) take(j job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.working < p.workers {
		p.working++
		go p.work(j)
		return true
	}
	if len(p.waiting)-p.head >= p.room {
		return false
	}
	if p.head >= p.room { // what was done makes room for what comes
		p.waiting, p.head = append(p.waiting[:0], p.waiting[p.head:]...), 0
	}
	p.waiting = append(p.waiting, j)
	return true
}

// work does jobs while there are any. After each it lets go of its CPU: a shard
// that waits for it serves resumes, which no full handshake may delay (rule E5),
// and would get it only after ten milliseconds of key agreements otherwise.
func (p *pool) work(j job) {
	for ok := true; ok; j, ok = p.next() {
		j.do()
		runtime.Gosched()
	}
}

// next is the job that waits longest of those that are wanted; without one the
// worker has left.
func (p *pool) next() (job, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.head < len(p.waiting) {
		j := p.waiting[p.head]
		p.waiting[p.head] = job{}
		p.head++
		if j.wanted() {
			return j, true
		}
	}
	p.waiting, p.head = p.waiting[:0], 0
	p.working--
	return job{}, false
}
