package blackswan

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestPoolBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{workers: 2, room: 3}
		release := make(chan struct{})
		var mu sync.Mutex
		var order []int
		give := func(i int) bool {
			return p.take(job{do: func() {
				<-release
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			}})
		}
		for i := range 5 {
			if !give(i) {
				t.Fatalf("job %d was refused", i)
			}
		}
		if give(5) {
			t.Error("a job beyond the room was taken")
		}
		for range 5 {
			release <- struct{}{}
		}
		synctest.Wait()
		if slices.Sort(order); !slices.Equal(order, []int{0, 1, 2, 3, 4}) {
			t.Errorf("done: %v", order)
		}
		if p.working != 0 || len(p.waiting) != 0 {
			t.Errorf("%d workers stay and %d jobs wait", p.working, len(p.waiting))
		}
		go func() { release <- struct{}{} }()
		if !give(6) {
			t.Error("an empty pool refused a job")
		}
		synctest.Wait()
	})
}

// TestPoolKeepsOrder: with one worker, who came first is served first; the
// queue does not grow for ever.
func TestPoolKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{workers: 1, room: 4}
		step := make(chan int)
		next := 0
		give := func() {
			i := next
			next++
			if !p.take(job{do: func() { step <- i }}) {
				t.Fatalf("job %d was refused", i)
			}
		}
		for range 4 {
			give()
		}
		for i := range 1000 { // never empty
			if got := <-step; got != i {
				t.Fatalf("job %d came in place of %d", got, i)
			}
			synctest.Wait()
			give()
		}
		if c := cap(p.waiting); c > 64 {
			t.Errorf("the queue of 4 has grown to %d", c)
		}
		for range 4 {
			<-step
		}
	})
}

// TestPoolDropsWhatNobodyWaitsFor: the jobs of a shard that has ended cost those
// who wait behind them no time.
func TestPoolDropsWhatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{workers: 1, room: 10}
		step, ended := make(chan string), make(chan struct{})
		give := func(of <-chan struct{}, what string) {
			if !p.take(job{of, func() { step <- what }}) {
				t.Fatalf("%s was refused", what)
			}
		}
		give(ended, "under way")
		for range 4 {
			give(ended, "in vain")
		}
		give(make(chan struct{}), "wanted")
		give(ended, "in vain")
		close(ended)
		for _, want := range []string{"under way", "wanted"} {
			if got := <-step; got != want {
				t.Fatalf("a job %s was done in place of one %s", got, want)
			}
		}
		synctest.Wait()
		if p.working != 0 || len(p.waiting) != 0 {
			t.Errorf("%d workers stay and %d jobs wait", p.working, len(p.waiting))
		}
	})
}

// TestPoolLetsOthersGoFirst: a shard that wants the CPU of a worker waits for the
// job at hand, not for all that wait: full handshakes do not delay resumes.
func TestPoolLetsOthersGoFirst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := &pool{workers: 1, room: 100}
	var done atomic.Int64
	most := int64(0)
	for range 100 {
		if !p.take(job{do: func() { done.Add(1) }}) {
			t.Fatal("a job was refused")
		}
	}
	for done.Load() < 100 { // a shard that has something to do whenever it may
		before := done.Load()
		runtime.Gosched()
		most = max(most, done.Load()-before)
	}
	if most > 5 {
		t.Errorf("%d jobs were done while a shard waited", most)
	}
}

func TestPoolOfTheProcess(t *testing.T) {
	if questions.workers != runtime.NumCPU() || questions.room != poolRoom {
		t.Errorf("%d workers and room for %d on %d CPUs", questions.workers, questions.room, runtime.NumCPU())
	}
}
