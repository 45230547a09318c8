//go:build !linux

package udp

import (
	"errors"
	"syscall"
)

// shares tells that no sockets can share a port.
const shares = false

// setOptions leaves all to the system.
func (s *socket) setOptions(_ uintptr, cfg *Config) error {
	if cfg.Reuse {
		return errors.ErrUnsupported
	}
	return nil
}

// steerGroup is for Linux alone.
func steerGroup(syscall.RawConn, []instruction) error { return errors.ErrUnsupported }

// setMark is for Linux alone.
func setMark(_ uintptr, mark uint32) error {
	if mark != 0 {
		return errors.ErrUnsupported
	}
	return nil
}
