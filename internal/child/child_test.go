package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(line string) *exec.Cmd { return exec.Command("sh", "-c", line) }

func TestStart(t *testing.T) {
	p, err := Start("parrot", shell(`echo '{"N":1}'; while read x; do echo "{\"Word\":\"$x\"}"; done; echo bye >&2; exit 3`))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	var first struct{ N int }
	if err := p.Read(&first); err != nil || first.N != 1 {
		t.Errorf("%+v, %v", first, err)
	}
	var answer struct{ Word string }
	if err := p.Ask("polly", &answer); err != nil || answer.Word != "polly" {
		t.Errorf("%+v, %v", answer, err)
	}
	p.stdin.Close()
	if err := p.Read(&first); err == nil || !strings.Contains(err.Error(), "the parrot ended") || !strings.Contains(err.Error(), "\nbye") {
		t.Errorf("the end: %v", err)
	}
}

func TestWatch(t *testing.T) {
	var line struct{ Time string }
	p, err := Watch("gateway", shell(`echo '{"msg":"early"}' >&2; echo '{"msg":"listening","time":"now"}' >&2; while :; do echo '{"msg":"more"}' >&2; sleep 0.01; done`), nil, "listening", &line)
	if err != nil || line.Time != "now" {
		t.Fatalf("%+v, %v", line, err)
	}
	pid := p.PID()
	p.Kill()
	p.Kill() // once is enough
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

func TestWatchOfOneThatEnds(t *testing.T) {
	_, err := Watch("gateway", shell(`echo '{"msg":"the port is taken"}' >&2; exit 1`), nil, "listening", &struct{}{})
	if err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Error(err)
	}
	if _, err := Watch("gateway", exec.Command("/nonexistent"), nil, "listening", &struct{}{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// The tail keeps the end.
func TestTail(t *testing.T) {
	var last tail
	for i := range tailLen {
		fmt.Fprintf(&last, "line %d\n", i)
	}
	if s := last.String(); len(s) > tailLen+1 || !strings.HasSuffix(s, fmt.Sprintf("line %d", tailLen-1)) {
		t.Errorf("%d octets: %q", len(s), s[max(len(s)-40, 0):])
	}
}
