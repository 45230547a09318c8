package blackswan

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"blackswan/ike"
	"blackswan/internal/state"
	"blackswan/wire"
)

// TestLogInAStorm: a storm is told in a few lines.
func TestLogInAStorm(t *testing.T) {
	var b bytes.Buffer
	l := logbook{log: slog.New(slog.NewTextHandler(&b, nil))}
	now := time.Unix(1_800_000_000, 0)
	happens := func(kind EventKind, now time.Time) {
		if l.takes(kind, now) {
			l.write(&Event{Kind: kind, At: now})
		}
	}
	for range 1000 {
		happens(Ticket, now) // of no interest at this level
		happens(Resumed, now)
	}
	l.due(now.Add(500 * time.Millisecond))
	if n := strings.Count(b.String(), "msg=resumed"); n != linesPerSecond {
		t.Errorf("%d lines in a second, want %d", n, linesPerSecond)
	}
	if strings.Contains(b.String(), "more") {
		t.Error("summed up before the second was over")
	}
	if l.tellAt.IsZero() {
		t.Fatal("nobody will sum up")
	}
	l.due(l.tellAt)
	if !strings.Contains(b.String(), "resumed=980") {
		t.Errorf("the rest was not summed up:\n%s", b.String()[b.Len()-200:])
	}
	b.Reset()
	l.due(l.tellAt.Add(time.Hour))
	happens(Resumed, now.Add(2*time.Second))
	if n := strings.Count(b.String(), "\n"); n != 1 {
		t.Errorf("%d lines after the storm, want 1:\n%s", n, b.String())
	}
}

func TestLogLine(t *testing.T) {
	var b bytes.Buffer
	l := logbook{log: slog.New(slog.NewTextHandler(&b, nil))}
	l.write(&Event{
		Kind: Detected, Connection: "office", Peer: "gw.example.org", Remote: netip.MustParseAddrPort("192.0.2.1:500"),
		SPIi: "0000000000000001", SPIr: "0000000000000002", By: "roll_call",
	})
	l.write(&Event{Kind: Failed, Err: errors.New("the peer does not answer")})
	for _, want := range []string{
		"level=INFO msg=\"peer lost the sa\" connection=office peer=gw.example.org remote=192.0.2.1:500 spi_i=0000000000000001 spi_r=0000000000000002 by=roll_call\n",
		"level=WARN msg=\"attempt failed\" error=\"the peer does not answer\"\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line %q in\n%s", want, b.String())
		}
	}
}

// TestEveryEventHasItsWord: an event without a word would be an empty line.
func TestEveryEventHasItsWord(t *testing.T) {
	for kind := ike.EventEstablished; kind <= ike.EventCounterFull; kind++ {
		if k := kindOf(&ike.Event{Kind: kind}); k != "" && words[k] == "" {
			t.Errorf("event %d, %q, has no word", kind, k)
		}
	}
}

func TestIdentityText(t *testing.T) {
	for _, text := range []string{"gw.example.org", "ann@example.org", "192.0.2.1", "2001:db8::1"} {
		id := wire.TextID(text)
		if got := identityText(append([]byte{byte(id.Type)}, id.Data...)); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
	if id := wire.TextID("192.0.2.1"); id.Type != wire.IDIPv4Addr || len(id.Data) != 4 {
		t.Errorf("an IPv4 address became %v", id.Type)
	}
	if identityText(nil) != "" {
		t.Error("no identity has a text")
	}
}

func TestSleepwatch(t *testing.T) {
	var w sleepwatch
	for _, step := range []struct {
		total time.Duration
		known bool
		want  time.Duration
	}{
		{5 * time.Hour, true, 0}, // what was before us
		{5 * time.Hour, true, 0},
		{5*time.Hour + time.Second, true, 0},
		{6*time.Hour + time.Second, true, time.Hour},
		{0, false, 0},
		{7 * time.Hour, true, 0},
		{7*time.Hour + shortSleep, true, shortSleep},
	} {
		if got := w.note(step.total, step.known); got != step.want {
			t.Errorf("asleep for %v: %v, want %v", step.total, got, step.want)
		}
	}
}

func TestPageEntry(t *testing.T) {
	x := ike.Entry{
		SPIs: wire.SPIs{I: 1, R: 2}, Original: true, Ours: true, Generation: 3, Marker: true, Heard: 4,
		Local: netip.MustParseAddrPort("192.0.2.1:4500"), Remote: netip.MustParseAddrPort("[2001:db8::1]:4500"),
	}
	kept, err := state.ParseRollCallEntry(state.AppendRollCallEntry(nil, pageEntry(&x)))
	if err != nil {
		t.Fatal(err)
	}
	if got := machineEntry(&kept); got != x {
		t.Errorf("%+v became %+v", x, got)
	}
}
