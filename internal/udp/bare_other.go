//go:build !linux || !(amd64 || arm64)

package udp

import (
	"errors"
	"fmt"
	"net/netip"
)

// Bare is for Linux alone.
func Bare(addr netip.Addr, _ uint32, _ func(netip.AddrPort)) (ESPPort, error) {
	return nil, fmt.Errorf("udp: bare ESP on %s: %w on this system; let ESP travel in UDP", addr, errors.ErrUnsupported)
}
