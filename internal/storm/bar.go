package storm

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// bar shows progress in one line of a terminal.
type bar struct {
	to    io.Writer
	shown time.Time
	open  bool
}

const (
	barWidth = 32
	barEvery = 100 * time.Millisecond
)

func (b *bar) show(now time.Time, what string, n, of int) {
	if b.to == nil || now.Sub(b.shown) < barEvery {
		return
	}
	b.shown, b.open = now, true
	done := barWidth * n / of
	fmt.Fprintf(b.to, "\r%-15s [%s%s] %d of %d ", what, strings.Repeat("=", done), strings.Repeat(" ", barWidth-done), n, of)
}

// end leaves the line.
func (b *bar) end() {
	if b.open {
		fmt.Fprintln(b.to)
		b.open, b.shown = false, time.Time{}
	}
}

func (b *bar) say(words string) {
	if b.to != nil {
		fmt.Fprintln(b.to, words)
	}
}
