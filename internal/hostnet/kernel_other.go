//go:build !linux

package hostnet

import (
	"errors"
	"fmt"
)

var errSystem = fmt.Errorf("hostnet: addresses, routes and DNS are set on Linux only; here, set them by hand: %w", errors.ErrUnsupported)

// kernel is none that we know how to change: openKernel fails, and nothing else
// is called.
type kernel struct{}

func openKernel() (*kernel, error)                  { return nil, errSystem }
func bootID() string                                { return "" }
func (*kernel) close()                              {}
func (*kernel) link(string) (link, error)           { return link{}, errSystem }
func (*kernel) has(device) bool                     { return false }
func (*kernel) setUp(link, int) error               { return errSystem }
func (*kernel) restore(link) error                  { return errSystem }
func (*kernel) list(int, []device) ([]entry, error) { return nil, errSystem }
func (*kernel) add(int, entry) error                { return errSystem }
func (*kernel) remove(int, entry) error             { return errSystem }
func (*kernel) addresses([]device) ([]entry, error) { return nil, errSystem }
