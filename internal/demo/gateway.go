package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"blackswan"
)

// listening is the first line of a gateway process.
type listening struct {
	At        int64            // Unix nanoseconds
	Addresses []netip.AddrPort // IKE port, NAT traversal port
}

// usage answers each line that a gateway process reads.
type usage struct {
	CPU  time.Duration     // of the process so far, user and system
	Wire map[string]uint64 // IKE messages at the socket so far, by exchange type
}

// tally counts messages by exchange type; a Tap.
type tally [256]atomic.Uint64

const exchangeAt = 18 // octet of the exchange type, RFC 7296 3.1

func (t *tally) tap(_ bool, data []byte, _ time.Time) {
	if len(data) > exchangeAt {
		t[data[exchangeAt]].Add(1)
	}
}

func (t *tally) counts() map[string]uint64 {
	counts := map[string]uint64{}
	for exchange := range t {
		if n := t[exchange].Load(); n > 0 {
			counts[strconv.Itoa(exchange)] = n
		}
	}
	return counts
}

// runGateway runs until orders or stdin ends. The end of stdin is that of the
// supervisor, which did not clean up.
func runGateway(orders context.Context, s spec, stdin io.Reader, stdout io.Writer) error {
	ctx, stop := context.WithCancel(orders)
	defer stop()
	var wire tally
	cfg := s.gatewayConfig()
	cfg.Tap = wire.tap
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	g, err := blackswan.NewGateway(cfg)
	if err != nil {
		return err
	}
	begins := listening{At: time.Now().UnixNano(), Addresses: g.Addrs()}
	ran := make(chan error, 1)
	go func() { ran <- g.Run(ctx) }()
	go func() {
		answer(stdin, json.NewEncoder(stdout), begins, &wire)
		stop()
	}()
	err = <-ran
	if orders.Err() == nil {
		err = errors.Join(err, os.RemoveAll(s.Dir))
	}
	return err
}

// answer tells begins, then the usage for each line of stdin. It returns at the
// end of either stream.
func answer(stdin io.Reader, out *json.Encoder, begins listening, wire *tally) {
	if out.Encode(begins) != nil {
		return
	}
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		cpu, err := cpuTime()
		if err != nil || out.Encode(usage{CPU: cpu, Wire: wire.counts()}) != nil {
			return
		}
	}
}

// cpuTime is what this process has used so far.
func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
