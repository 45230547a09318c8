package storm

import (
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"blackswan/internal/child"
)

// What is measured has CPUs of its own, until the run is over.
func TestCoresAreParted(t *testing.T) {
	had := affinity(t)
	procs := runtime.GOMAXPROCS(0)
	c, err := part(1)
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ CPUs string }
	p, err := child.Watch("child", exec.Command("sh", "-c", `echo "{\"msg\":\"listening\",\"cpus\":\"$(nproc)\"}" >&2; exec sleep 60`), c.give(), "listening", &said)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	var child unix.CPUSet
	if err := unix.SchedGetaffinity(p.PID(), &child); err != nil {
		t.Fatal(err)
	}
	own := affinity(t)
	if had.Count() == 1 {
		if c.n != 0 || own != had || child != had {
			t.Errorf("a single CPU was parted: %v", c)
		}
		return
	}
	if c.n != 1 || child.Count() != 1 || said.CPUs != "1" || own.Count() != had.Count()-1 || runtime.GOMAXPROCS(0) != own.Count() {
		t.Errorf("of %d CPUs the child has %d and sees %s, this process has %d and uses %d", had.Count(), child.Count(), said.CPUs, own.Count(), runtime.GOMAXPROCS(0))
	}
	for cpu := range 1024 {
		if child.IsSet(cpu) && own.IsSet(cpu) {
			t.Errorf("CPU %d belongs to both", cpu)
		}
	}
	if err := c.join(); err != nil {
		t.Fatal(err)
	}
	if now := affinity(t); now != had {
		t.Error("this process did not get its CPUs back")
	}
	runtime.GOMAXPROCS(procs)
}

// As many CPUs as there are, or more, cannot be given away.
func TestCoresAreShared(t *testing.T) {
	had := affinity(t)
	for _, n := range []int{0, had.Count(), had.Count() + 1} {
		c, err := part(n)
		if err != nil || c.give() != nil || affinity(t) != had {
			t.Errorf("%d of %d CPUs: %v, error %v", n, had.Count(), c.give(), err)
		}
	}
}

func affinity(t *testing.T) (set unix.CPUSet) {
	t.Helper()
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	return set
}
