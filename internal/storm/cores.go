package storm

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// cores are the CPUs of a run on one machine. What is measured has some of them
// for itself: where two processes move between the same CPUs, each pays for
// what the other left in the caches.
type cores struct {
	all      unix.CPUSet // what this process had before
	measured unix.CPUSet
	n        int // of them; 0: all are shared
}

// part gives n of the CPUs of this process to what is measured, and leaves this
// process the others. Nothing is parted where no CPU would be left.
func part(n int) (c cores, err error) {
	if err := unix.SchedGetaffinity(0, &c.all); err != nil {
		return c, fmt.Errorf("storm: CPUs of this process: %w", err)
	}
	if n <= 0 || n >= c.all.Count() {
		return c, nil
	}
	others := c.all
	for cpu := 0; c.n < n; cpu++ {
		if others.IsSet(cpu) {
			others.Clear(cpu)
			c.measured.Set(cpu)
			c.n++
		}
	}
	return c, settleOn(&others)
}

// give is the CPUs for a child that is measured; nil: those of this process.
func (c *cores) give() *unix.CPUSet {
	if c.n == 0 {
		return nil
	}
	return &c.measured
}

// join gives this process back what it had.
func (c *cores) join() error {
	if c.n == 0 {
		return nil
	}
	return settleOn(&c.all)
}

// settleOn moves all threads of this process to the CPUs. A thread has the CPUs
// of who started it, so a second look finds who was started meanwhile.
func settleOn(cpus *unix.CPUSet) error {
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("storm: %w", err)
		}
		for _, t := range threads {
			id, _ := strconv.Atoi(t.Name())
			if err := unix.SchedSetaffinity(id, cpus); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
				return fmt.Errorf("storm: CPUs of this process: %w", err)
			}
		}
	}
	runtime.GOMAXPROCS(cpus.Count())
	return nil
}
