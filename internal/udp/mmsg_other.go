//go:build !linux || !(amd64 || arm64)

package udp

// vector is empty where no system call takes a batch.
type vector struct{}

func (*vector) init(*Batch) {}

func newLink(s *socket, _ bool) link { return newPlain(s) }
