package kills

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"blackswan"
	"blackswan/internal/jar"
)

// crowd is clients that come and go.
type crowd struct {
	t       *testing.T
	stolen  thief
	stay    chan struct{} // closed: whoever is there stays
	part    chan struct{} // closed: they end, with a DELETE
	staying sync.WaitGroup
	all     sync.WaitGroup
	members []*member

	mu   sync.Mutex
	seen map[blackswan.EventKind]int
}

// member is one client and its lives.
type member struct {
	crowd  *crowd
	cfg    blackswan.Config
	random *rand.Rand
	client *blackswan.Client // of the last life

	mu      sync.Mutex
	ticket  bool // it has one: nothing but a DELETE costs it
	deleted bool // the answer to DELETE came in this life
	story   []string
}

func newCrowd(t *testing.T, s *site, clients int, seed uint64) *crowd {
	c := &crowd{t: t, stay: make(chan struct{}), part: make(chan struct{}), seen: map[blackswan.EventKind]int{}}
	for i := range clients {
		m := &member{crowd: c, random: rand.New(rand.NewPCG(seed, uint64(i))), cfg: clientConfig(s, i)}
		if i%3 == 0 { // these keep their tickets over a restart of their own
			m.cfg.StateDir = filepath.Join(t.TempDir(), "client")
		}
		c.members = append(c.members, m)
	}
	c.staying.Add(clients)
	for _, m := range c.members {
		c.all.Go(m.live)
	}
	t.Cleanup(c.leave)
	return c
}

func clientConfig(s *site, i int) blackswan.Config {
	quick := blackswan.Backoff{Initial: 50 * time.Millisecond, Max: 200 * time.Millisecond, Tries: 8}
	return blackswan.Config{
		Listen: []netip.Addr{netip.AddrFrom4([4]byte{127, 30, 0, byte(i + 1)})}, AnyPort: true,
		Timers: blackswan.Timers{Retry: quick, Liveness: quick},
		Log:    slog.New(slog.NewTextHandler(io.Discard, nil)),
		Connections: []blackswan.Connection{{
			Name: "office", Gateway: s.address().String(), GatewayNATPort: s.nat,
			Local: blackswan.Side{ID: fmt.Sprintf("c%d@example.org", i)}, Remote: blackswan.Side{ID: "gw.example.org"}, PSK: psk,
			IKE: []string{"aes128gcm16-sha256-x25519"}, ESP: []string{"aes128gcm16"},
			LocalTS: []string{"10.2.0.0/16"}, RemoteTS: []string{"10.1.0.0/16"},
			DPD: time.Second,
		}},
	}
}

// leave lets everybody end and waits for that.
func (c *crowd) leave() {
	for _, order := range []chan struct{}{c.stay, c.part} {
		select {
		case <-order:
		default:
			close(order)
		}
	}
	c.all.Wait()
}

// live is one life after the other: connected for a while, then gone, with a
// DELETE or without a word.
func (m *member) live() {
	settled := sync.OnceFunc(m.crowd.staying.Done)
	defer settled()
	for {
		end, err := m.begin()
		if err != nil {
			m.crowd.t.Errorf("%s: %v", m.name(), err)
			return
		}
		leave := time.NewTimer(time.Duration(50+m.random.IntN(1000)) * time.Millisecond)
		select {
		case <-leave.C:
			if m.random.IntN(2) == 0 {
				end(blackswan.ErrKeepTicket)
			} else {
				end(nil)
			}
			continue
		case <-m.crowd.stay:
			leave.Stop()
		}
		settled()
		<-m.crowd.part
		end(nil)
		return
	}
}

// begin starts a life, whose end the function is.
func (m *member) begin() (end func(cause error), err error) {
	m.mu.Lock()
	m.ticket, m.deleted = m.ticket && m.cfg.StateDir != "", false
	m.note("begins")
	m.mu.Unlock()
	m.cfg.OnEvent = m.hear
	m.client, err = blackswan.NewClient(m.cfg, "")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.client.Run(ctx) }()
	return func(cause error) {
		copied := m.copyTicket()
		cancel(cause)
		if err := <-ended; err != nil {
			m.crowd.t.Errorf("%s: %v", m.name(), err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.note(fmt.Sprintf("ends: %v", cause))
		m.ticket = m.ticket && cause != nil // else it was wiped
		if m.deleted && copied != nil {
			m.crowd.stolen.take(copied)
		}
	}, nil
}

// copyTicket is what a thief of the jar has now, nil if there is nothing.
func (m *member) copyTicket() []byte {
	if m.cfg.StateDir == "" {
		return nil
	}
	j, err := jar.Open(filepath.Join(m.cfg.StateDir, "jar"))
	if err != nil {
		m.crowd.t.Errorf("%s: %v", m.name(), err)
		return nil
	}
	defer j.Close()
	e, err := j.Peek("office")
	if errors.Is(err, jar.ErrNone) || errors.Is(err, jar.ErrCorrupt) { // or just being wiped; the next life tells
		return nil
	}
	if err != nil {
		m.crowd.t.Errorf("%s: %v", m.name(), err)
		return nil
	}
	return e.Ticket
}

func (m *member) name() string { return m.cfg.Connections[0].Local.ID }

// hear takes what happens. Who has a ticket never logs in anew: no kill alone
// is a reason (rules D6, D7, F6).
func (m *member) hear(e blackswan.Event) {
	m.crowd.mu.Lock()
	m.crowd.seen[e.Kind]++
	m.crowd.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note(fmt.Sprintf("%s by=%s reason=%q err=%v spi=%s/%s", e.Kind, e.By, e.Reason, e.Err, e.SPIi, e.SPIr))
	switch {
	case e.Kind == blackswan.Ticket:
		m.ticket = true
	case e.Kind == blackswan.Down && e.Reason == "deleted by us":
		m.deleted = true
	case e.Kind == blackswan.FellBack, e.Kind == blackswan.Established && m.ticket:
		m.crowd.t.Errorf("%s had a ticket and logged in anew:\n%s", m.name(), strings.Join(m.story, "\n"))
	}
}

// note is called with mu held.
func (m *member) note(what string) {
	m.story = append(m.story[max(len(m.story)-40, 0):], time.Now().Format("05.000 ")+what)
}
