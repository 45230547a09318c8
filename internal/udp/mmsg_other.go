//go:build !linux || !(amd64 || arm64)

package udp

import "errors"

// vector is empty where no system call takes a batch.
type vector struct{}

func (*vector) init(int) {}

func (*vector) shape([]byte, int, int) {}

func newLink(s *socket, _ bool) link { return newPlain(s) }

// errorQueue is nothing where nobody tells what was unreachable.
type errorQueue struct{}

// tries is one.
type tries struct{}

func (s *socket) tries() tries { return tries{} }

func (*tries) again() bool { return false }

// bindESP is for where a system call takes a batch.
func (c *Conn) bindESP() ([]ESPPort, error) { return nil, errors.ErrUnsupported }
