package kills

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"blackswan/wire"
)

// thief has copies of tickets whose SAs were deleted, the answer to DELETE
// being there.
type thief struct {
	mu      sync.Mutex
	tickets [][]byte
}

func (h *thief) take(ticket []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tickets = append(h.tickets, ticket)
}

func (h *thief) all() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tickets[:len(h.tickets):len(h.tickets)]
}

// show shows the newest ticket and some of the older ones.
func (h *thief) show(t *testing.T, s *site, random *mathrand.Rand) {
	t.Helper()
	tickets := h.all()
	if len(tickets) == 0 {
		return
	}
	some := [][]byte{tickets[len(tickets)-1], tickets[random.IntN(len(tickets))], tickets[random.IntN(len(tickets))]}
	for _, ticket := range some {
		nacked(t, s, ticket)
	}
}

func (h *thief) showAll(t *testing.T, s *site) {
	t.Helper()
	for _, ticket := range h.all() {
		nacked(t, s, ticket)
	}
}

// nacked fails the test unless the ticket of a deleted SA is refused (rule D5).
func nacked(t *testing.T, s *site, ticket []byte) {
	t.Helper()
	if answer := resume(t, s.address(), ticket); answer != "TICKET_NACK" {
		t.Errorf("the ticket of a deleted SA was shown: the answer is %s, want TICKET_NACK", answer)
	}
}

// resume shows a ticket, in an IKE_SESSION_RESUME without anything that is
// optional (RFC 5723 4.3.2), and returns what was answered: "TICKET_NACK",
// "Nr" when the ticket is good, or something else.
func resume(t *testing.T, gateway netip.AddrPort, ticket []byte) string {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(gateway))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var ours [8]byte
	nonce := make([]byte, 32)
	_, _ = rand.Read(ours[:])
	_, _ = rand.Read(nonce)
	var cookie, answer []byte
	buf := make([]byte, 2048)
	for range 100 {
		w := wire.NewWriter(nil, wire.Header{
			SPIi: wire.SPI(binary.BigEndian.Uint64(ours[:])), Version: wire.Version,
			Exchange: wire.ExchangeSessionResume, Flags: wire.FlagInitiator,
		})
		if cookie != nil {
			w.Notify(wire.Notify{Type: wire.NotifyCookie, Data: cookie})
		}
		w.Nonce(nonce)
		w.Notify(wire.Notify{Type: wire.NotifyTicketOpaque, Data: ticket})
		_, _ = c.Write(w.Finish())
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.Read(buf)
		if err != nil {
			continue
		}
		word, data := read(buf[:n])
		if word != "COOKIE" {
			return word
		}
		answer = append(answer[:0], data...)
		cookie = answer
	}
	return "silence"
}

// read tells of what the answer to a RESUME consists.
func read(b []byte) (word string, data []byte) {
	h, err := wire.ParseHeader(b)
	if err != nil || h.Exchange != wire.ExchangeSessionResume {
		return fmt.Sprintf("not IKE_SESSION_RESUME: %v", err), nil
	}
	word = "empty"
	for payloads := wire.Walk(h.NextPayload, b[wire.HeaderLen:]); ; {
		p, more := payloads.Next()
		switch {
		case !more:
			return word, data
		case p.Type == wire.PayloadNonce:
			return "Nr", nil
		case p.Type == wire.PayloadNotify:
			if n, err := wire.ParseNotify(p.Body); err == nil && (word == "empty" || n.Type == wire.NotifyCookie) {
				word, data = n.Type.String(), n.Data
			}
		}
	}
}
