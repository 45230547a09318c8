package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"blackswan"
	"blackswan/internal/ladder"
	"blackswan/wire"
)

// news is a line of the process with the clients.
type news struct {
	Client int
	Kind   blackswan.EventKind
	At     int64  // Unix nanoseconds
	By     string `json:",omitempty"`
	Why    string `json:",omitempty"`
	Seen   traffic
	Rungs  []ladder.Rung `json:",omitempty"` // what the first client's socket saw since its last news
}

// traffic is what the socket of one client saw so far.
type traffic struct {
	Octets int // of IKE messages, both directions
	Trips  int // answers to IKE_SA_INIT, IKE_SESSION_RESUME and IKE_AUTH
}

const (
	// atOnce is how many clients connect at the same time, so that no queue of
	// the gateway is overrun before there is anything to demonstrate.
	atOnce = 64
	// maxRecorded bounds the messages that are kept for the ladder.
	maxRecorded = 256
)

// recorder is the Tap of one client.
type recorder struct {
	mu       sync.Mutex
	seen     traffic
	keep     bool
	messages []message
	keylog   string
}

type message struct {
	at   time.Time
	out  bool
	data []byte
}

func (r *recorder) tap(out bool, data []byte, at time.Time) {
	h, err := wire.ParseHeader(data)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.Octets += len(data)
	handshake := h.Exchange == wire.ExchangeIKESAInit || h.Exchange == wire.ExchangeSessionResume || h.Exchange == wire.ExchangeIKEAuth
	if !out && h.Response() && handshake {
		r.seen.Trips++
	}
	if r.keep && len(r.messages) < maxRecorded {
		r.messages = append(r.messages, message{at, out, append([]byte(nil), data...)})
	}
}

// traffic is what was seen so far.
func (r *recorder) traffic() traffic {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// rungs are the messages since the last call.
func (r *recorder) rungs() []ladder.Rung {
	r.mu.Lock()
	messages := r.messages
	r.messages = nil
	r.mu.Unlock()
	if len(messages) == 0 {
		return nil
	}
	keys := readKeys(r.keylog)
	rungs := make([]ladder.Rung, len(messages))
	for i, m := range messages {
		rungs[i] = ladder.Rung{At: m.at, Out: m.out, Octets: len(m.data), Text: string(ladder.Append(nil, m.data, keys))}
	}
	return rungs
}

// crowd are the clients of the process.
type crowd struct {
	spec
	told    chan news
	first   *recorder // of the client whose ladder is shown
	running sync.WaitGroup
}

// runClients runs all clients until ctx ends. They begin atOnce at a time.
func runClients(ctx context.Context, s spec, stdout io.Writer) error {
	c := &crowd{spec: s, told: make(chan news, 4*s.Clients), first: &recorder{keep: true, keylog: filepath.Join(s.Dir, "keylog")}}
	ctx, stop := context.WithCancelCause(ctx)
	defer c.running.Wait()
	defer stop(nil)
	c.running.Go(func() {
		if err := c.begin(ctx, stop); err != nil {
			stop(err)
		}
	})
	out := json.NewEncoder(stdout)
	for {
		select {
		case line := <-c.told:
			if line.Client == 0 && (line.Kind == blackswan.Established || line.Kind == blackswan.Resumed) {
				line.Rungs = c.first.rungs()
			}
			if err := out.Encode(line); err != nil {
				return fmt.Errorf("demo: tell the supervisor: %w", err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// begin starts one client after the other. One that fails later calls stop.
func (c *crowd) begin(ctx context.Context, stop context.CancelCauseFunc) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	places := make(chan struct{}, atOnce)
	for n := range c.Clients {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		r, cfg := &recorder{}, c.clientConfig(n)
		if n == 0 {
			r, cfg.KeyLog = c.first, c.first.keylog
		}
		cfg.Log, cfg.Tap = log, r.tap
		var up sync.Once
		cfg.OnEvent = func(e blackswan.Event) {
			select {
			case c.told <- news{Client: n, Kind: e.Kind, At: e.At.UnixNano(), By: e.By, Why: why(e), Seen: r.traffic()}:
			case <-ctx.Done():
			}
			if e.Kind == blackswan.Established {
				up.Do(func() { <-places })
			}
		}
		client, err := blackswan.NewClient(cfg, "demo")
		if err != nil {
			return fmt.Errorf("demo: client %d: %w", n+1, err)
		}
		c.running.Go(func() {
			if err := client.Run(ctx); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("demo: client %d: %w", n+1, err))
			}
		})
	}
	return nil
}

func why(e blackswan.Event) string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Reason
}
