package storm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestParseCrash(t *testing.T) {
	for _, row := range []struct {
		text string
		want Crash
	}{
		{"", nil},
		{"ipsec.service", crashUnit("ipsec.service")},
		{"systemctl restart ipsec.service", crashCommand{"systemctl restart ipsec.service", "charon"}},
		{"./again", crashCommand{"./again", "charon"}},
	} {
		if got, err := ParseCrash(row.text, "charon"); got != row.want || err != nil {
			t.Errorf("%q: %v, %v", row.text, got, err)
		}
	}
	for _, text := range []string{"0", "1", "-5"} {
		if _, err := ParseCrash(text, ""); !errors.Is(err, ErrOptions) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A process is killed, and comes back with its arguments, its directory and its
// environment.
func TestCrashPID(t *testing.T) {
	first := exec.Command("sleep", "1000")
	first.Dir, first.Env = t.TempDir(), []string{"WHO=gateway"}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	started(t, first.Process.Pid)
	c, err := ParseCrash(strconv.Itoa(first.Process.Pid), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the first ended: %v", err)
	}
	listened, err := c.start(t.Context())
	if err != nil || listened.IsZero() {
		t.Fatal(err)
	}
	again, err := c.process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := again.pid()
	if err != nil {
		t.Fatal(err)
	}
	defer c.kill(t.Context())
	proc := "/proc/" + strconv.Itoa(pid) + "/"
	line := started(t, pid)
	env, _ := os.ReadFile(proc + "environ")
	dir, _ := os.Readlink(proc + "cwd")
	if got := texts(line); len(got) != 2 || dir != first.Dir || string(env) != "WHO=gateway\x00" {
		t.Errorf("%q in %s with %q", got, dir, env)
	}
	file := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(file, []byte(string(again)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := Process(file).pid(); n != pid || err != nil {
		t.Errorf("by its file: %d, %v", n, err)
	}
	if n, err := Process("sleep").pid(); n <= 1 || err != nil {
		t.Errorf("by its name: %d, %v", n, err)
	}
	if u := again.usage(); !u.known || u.rss <= 0 || u.cpu < 0 {
		t.Errorf("usage %+v", u)
	}
}

func TestCrashOfWhoIsNotThere(t *testing.T) {
	c, err := ParseCrash(strconv.Itoa(1<<22+1), "") // above the largest number of a process
	if err != nil {
		t.Fatal(err)
	}
	if err := c.kill(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	fails, _ := ParseCrash("echo no such unit; exit 3", "")
	if _, err := fails.start(t.Context()); err == nil || !strings.Contains(err.Error(), "no such unit") {
		t.Error(err)
	}
	if u := Process("nobody is called so").usage(); u.known {
		t.Errorf("usage of nobody: %+v", u)
	}
}

// started is the command line of a sleeper once the kernel has put it in place.
func started(t *testing.T, pid int) []byte {
	t.Helper()
	for {
		line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(string(line), "\x001000\x00") {
			return line
		}
	}
}
