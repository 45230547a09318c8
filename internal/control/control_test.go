package control

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("CONTROL_TEST_ASK"); dir != "" {
		if err := Ask(dir, Request{Do: Status}, nil); err != nil {
			os.Stdout.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serveIn serves handlers in dir for the time of the test.
func serveIn(t *testing.T, dir string, handlers Handlers) *Server {
	t.Helper()
	s, err := Listen(dir, handlers)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, File)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket stays: %v", err)
		}
	})
	return s
}

func echo(_ context.Context, r Request) (any, error) { return r, nil }

func TestAsk(t *testing.T) {
	dir := t.TempDir()
	serveIn(t, dir, Handlers{Status: echo, DeleteSA: func(context.Context, Request) (any, error) {
		return nil, errors.New("no such SA: look at the list")
	}})
	var got Request
	want := Request{Do: Status, All: true, SPI: "0123456789abcdef"}
	if err := Ask(dir, want, &got); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := Ask(dir, want, nil); err != nil {
		t.Errorf("an answer that nobody wants: %v", err)
	}
	if err := Ask(dir, Request{Do: DeleteSA}, nil); err == nil || err.Error() != "control: no such SA: look at the list" {
		t.Errorf("an error of the handler: %v", err)
	}
	if err := Ask(dir, Request{Do: "dance"}, nil); err == nil || !strings.Contains(err.Error(), `"dance" cannot be asked`) {
		t.Errorf("what nobody handles: %v", err)
	}
	if err := Ask(dir, Request{Do: Status, SPI: strings.Repeat("0", maxRequest)}, nil); err == nil {
		t.Error("a request above the limit is answered")
	}
}

func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	check := func(what string) {
		t.Helper()
		err := Ask(dir, Request{Do: Status}, nil)
		if !errors.Is(err, ErrNobody) || !strings.Contains(err.Error(), "start 'blackswan gateway --state "+dir+"'") {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("no socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, File), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	check("the socket of a dead process")
	serveIn(t, dir, Handlers{Status: echo}) // replaces it
	if err := Ask(dir, Request{Do: Status}, nil); err != nil {
		t.Error(err)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	dir := t.TempDir()
	serveIn(t, dir, Handlers{Status: echo})
	info, err := os.Lstat(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestWhoMayAsk(t *testing.T) {
	for uid, want := range map[uint32]bool{0: true, uint32(os.Geteuid()): true, uint32(os.Geteuid()) + 1: false} {
		if got := ownOrRoot(uid); got != want {
			t.Errorf("user %d: got %v, want %v", uid, got, want)
		}
	}
}

// What the kernel says of the peer is asked, and a stranger is refused.
func TestPeerCredentials(t *testing.T) {
	dir := t.TempDir()
	s, err := Listen(dir, Handlers{Status: echo})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan uint32, 1)
	s.admit = func(uid uint32) bool { asked <- uid; return false }
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	err = Ask(dir, Request{Do: Status}, nil)
	if err == nil || !strings.Contains(err.Error(), "may not control") {
		t.Errorf("a stranger: %v", err)
	}
	if uid := <-asked; int(uid) != os.Geteuid() {
		t.Errorf("the kernel says user %d, we are %d", uid, os.Geteuid())
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Another user gets nothing, even where directory and socket are open to all.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: only root can be two users")
	}
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	serveIn(t, dir, Handlers{Status: echo})
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "ask")
	for _, err := range []error{
		os.WriteFile(copied, program, 0o755), os.Chmod(dir, 0o755),
		os.Chmod(filepath.Join(dir, File), 0o666),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	cmd := exec.Command(copied)
	cmd.Dir, cmd.Env = "/", []string{"CONTROL_TEST_ASK=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "user 65534 may not control a process of user 0") {
		t.Errorf("user nobody: %v, %s", err, out)
	}
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	serveIn(t, dir, Handlers{Status: echo})
	if err := Ask(dir, Request{Do: Status}, nil); err != nil {
		t.Error(err)
	}
}

// A crowd of idle connections does not grow: the one too many is closed.
func TestCrowd(t *testing.T) {
	dir := t.TempDir()
	serveIn(t, dir, Handlers{Status: echo})
	for range maxAtOnce {
		c, err := net.Dial("unix", filepath.Join(dir, File))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	err := Ask(dir, Request{Do: Status}, nil)
	if err == nil || !strings.Contains(err.Error(), "ask again") {
		t.Errorf("one too many: %v", err)
	}
}

// Profiles are served to the same user, and leave nothing behind.
func TestProfile(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Profile(ctx, dir) }()
	path := filepath.Join(dir, ProfileFile)
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			for {
				c, err := net.Dial("unix", path)
				if err == nil || ctx.Err() != nil {
					return c, err
				}
				runtime.Gosched() // it does not listen yet
			}
		},
	}
	r, err := (&http.Client{Transport: transport}).Get("http://gateway/debug/pprof/heap?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || r.StatusCode != http.StatusOK || !strings.HasPrefix(string(text), "heap profile: ") {
		t.Errorf("%s, %v: %.40s", r.Status, err, text)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}
