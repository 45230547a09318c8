//go:build !linux

package udp

import (
	"errors"
	"syscall"
)

// setOptions leaves all to the system. Ports cannot be shared.
func (s *socket) setOptions(_ uintptr, cfg *Config) error {
	if cfg.Reuse {
		return errors.ErrUnsupported
	}
	return nil
}

// steerGroup is for Linux alone.
func steerGroup(syscall.RawConn, []instruction) error { return errors.ErrUnsupported }
