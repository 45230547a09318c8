package blackswan

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv makes the test binary a gateway process: it holds a childSpec.
const childEnv = "BLACKSWAN_TEST_GATEWAY"

// childSpec is what a gateway process is told.
type childSpec struct {
	Dir       string
	MachineID string
	IKE, NAT  uint16 // 0: any free port
}

// childReady is the line that a gateway process writes when it listens.
type childReady struct {
	Epoch    uint32
	IKE, NAT uint16
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// runChild is a gateway until it is killed, or its stdin ends.
func runChild(text string) error {
	var spec childSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	cfg := labGateway()
	cfg.Listen = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	cfg.StateDir, cfg.MachineID = spec.Dir, []string{spec.MachineID}
	cfg.AnyPort, cfg.Port, cfg.NATPort = true, spec.IKE, spec.NAT
	g, err := NewGateway(cfg)
	if err != nil {
		return err
	}
	ready, err := json.Marshal(childReady{g.boot.SPI.Epoch, g.Addrs()[0].Port(), g.Addrs()[1].Port()})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test is gone
		stop()
	}()
	fmt.Println(string(ready))
	return g.Run(ctx)
}

// child is a gateway process.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ready childReady
}

func startChild(t *testing.T, spec childSpec) *child {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &c.ready)
	}
	if err != nil {
		c.kill()
		t.Fatalf("the gateway does not start: %v", err)
	}
	return c
}

// kill is SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.stdin.Close()
	_ = c.cmd.Wait()
}

// TestKills: a gateway that is killed at random moments, while clients connect,
// resume and delete, always starts again, with a later epoch, and in the end
// everybody is back. In CI it is killed 200 times.
func TestKills(t *testing.T) {
	kills := 20
	if os.Getenv("CI") == "true" {
		kills = 200
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	spec := childSpec{Dir: filepath.Join(t.TempDir(), "gateway"), MachineID: machineID(t)}
	gateway := startChild(t, spec)
	defer func() { gateway.kill() }()
	spec.IKE, spec.NAT = gateway.ready.IKE, gateway.ready.NAT

	crowd := newCrowd(t, 50, spec)
	for range kills {
		wait(time.Duration(random.IntN(120)) * time.Millisecond)
		gateway.kill()
		before := gateway.ready.Epoch
		if gateway = startChild(t, spec); gateway.ready.Epoch <= before {
			t.Fatalf("epoch %d after %d", gateway.ready.Epoch, before)
		}
	}
	crowd.settle()
	gateway.kill()
	gateway = startChild(t, spec)
	crowd.end()
	t.Logf("%d connected, %d resumed, %d deleted", crowd.established, crowd.resumed, crowd.deleted)
	if crowd.established == 0 || crowd.resumed == 0 || crowd.deleted == 0 {
		t.Error("each was to happen")
	}
}

func wait(d time.Duration) { <-time.After(d) }

// crowd is clients that come and go.
type crowd struct {
	t     *testing.T
	stay  chan struct{} // closed: nobody leaves any more
	up    sync.WaitGroup
	again chan struct{} // closed: all were up, and the gateway was killed once more
	all   sync.WaitGroup

	mu                            sync.Mutex
	established, resumed, deleted int
}

func newCrowd(t *testing.T, clients int, spec childSpec) *crowd {
	c := &crowd{t: t, stay: make(chan struct{}), again: make(chan struct{})}
	c.up.Add(clients)
	for i := range clients {
		cfg := labClient(fmt.Sprintf("c%d", i))
		cfg.Listen, cfg.AnyPort = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 2, byte(i + 1)})}, true
		cfg.Connections[0].Gateway, cfg.Connections[0].GatewayNATPort = fmt.Sprintf("127.0.0.1:%d", spec.IKE), spec.NAT
		cfg.Connections[0].DPD = time.Second
		quick := Backoff{Initial: 50 * time.Millisecond, Max: 200 * time.Millisecond, Tries: 8}
		cfg.Timers = Timers{Retry: quick, Liveness: quick}
		if i%5 == 0 { // these keep their tickets over a restart of their own
			cfg.StateDir, cfg.MachineID = filepath.Join(t.TempDir(), "client"), []string{spec.MachineID}
		}
		c.all.Go(func() { c.live(cfg, rand.New(rand.NewPCG(uint64(i), 1))) })
	}
	return c
}

// live is the life of one client: connected for a while, then gone with a
// DELETE or without a word, and again.
func (c *crowd) live(cfg Config, random *rand.Rand) {
	for {
		up := make(chan struct{}, 1)
		cfg.OnEvent = func(e Event) { c.count(e, up) }
		client, err := open(cfg)
		if err != nil {
			c.t.Errorf("client: %v", err)
			c.up.Done()
			return
		}
		r := start(client.Run)
		leave := time.After(time.Duration(50+random.IntN(1000)) * time.Millisecond)
		select {
		case <-leave:
		case <-c.stay:
			c.last(client, r, up)
			return
		}
		cause := error(nil)
		if random.IntN(2) == 0 {
			cause = ErrKeepTicket
		}
		r.stop(c.t, cause)
	}
}

// open is NewClient. A process on its way from fork to exec shares for a moment
// what was open here, the lock of this client's last life included.
func open(cfg Config) (client *Client, err error) {
	for range 100 {
		client, err = NewClient(cfg, "")
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d:", os.Getpid())) {
			break
		}
		wait(10 * time.Millisecond)
	}
	return client, err
}

func (c *crowd) count(e Event, up chan<- struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.Kind == Established:
		c.established++
	case e.Kind == Resumed:
		c.resumed++
	case e.Kind == Down && e.Reason == "deleted by us":
		c.deleted++
		return
	default:
		return
	}
	select {
	case up <- struct{}{}:
	default:
	}
}

// last is the end of a client's life: it is up, comes back once more after a
// crash, and deletes.
func (c *crowd) last(client *Client, r *running, up <-chan struct{}) {
	late := time.After(time.Minute)
	for {
		if st := client.Status(1); len(st.SAs) == 1 && st.SAs[0].State == "established" {
			break
		}
		select {
		case <-up:
		case <-late:
			c.t.Errorf("a client is not up: %+v", client.Status(-1))
			c.up.Done()
			r.stop(c.t, ErrKeepTicket)
			return
		}
	}
	select {
	case <-up: // that was the one
	default:
	}
	c.up.Done()
	<-c.again
	select {
	case <-up:
	case <-time.After(time.Minute):
		c.t.Errorf("a client is not back: %+v", client.Status(-1))
	}
	r.stop(c.t, nil)
}

// settle lets everybody come up, and stay so.
func (c *crowd) settle() {
	close(c.stay)
	c.up.Wait()
}

// end waits until everybody is back, and gone.
func (c *crowd) end() {
	close(c.again)
	c.all.Wait()
}
