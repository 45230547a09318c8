// Package control is the way to a running gateway or client from the same
// machine: a socket in its state directory, for the same user and root alone.
// A connection carries one request and one answer, a line of JSON each.
//
//	{"do":"status","all":true}
//	{"result":{"role":"gateway", ...}}  or  {"error":"..."}
package control

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// File is the name of the socket in a state directory.
const File = "control.sock"

// What a request may ask for.
const (
	Status      = "status"
	RotateKeys  = "keys rotate"
	RevokeKeys  = "keys revoke"
	DeleteSA    = "delete"
	Drain       = "drain"
	Stop        = "stop"
	maxRequest  = 64 << 10 // octets
	maxAtOnce   = 16       // connections
	patience    = 5 * time.Second
	longestPath = 100 // octets of a path that fits a socket address, with some to spare
)

// Request is what is asked for.
type Request struct {
	Do  string `json:"do"`
	All bool   `json:"all,omitempty"` // status: every SA
	SPI string `json:"spi,omitempty"` // delete: our SPI of the SA, 16 hexadecimal digits
	To  string `json:"to,omitempty"`  // drain: the other gateway

	Goodbye bool `json:"goodbye,omitempty"` // stop: with DELETE to every peer
}

type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// reach calls f with the path of a socket in the state directory dir, in a form
// that is short enough for a socket address.
func reach(dir, name string, f func(path string) error) error {
	path := filepath.Join(dir, name)
	if len(path) <= longestPath {
		return f(path)
	}
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name))
}
