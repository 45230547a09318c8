package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// ErrNobody is of Ask when no process runs on the state directory.
var ErrNobody = errors.New("no gateway or client runs there")

// Ask sends r to the process that runs on the state directory dir and decodes
// its answer into result, unless that is nil.
func Ask(dir string, r Request, result any) error {
	var c net.Conn
	err := reach(dir, File, func(path string) (err error) {
		c, err = net.DialTimeout("unix", path, patience)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("control: %s: %w: start 'blackswan gateway --state %s', or name another directory with --state", dir, ErrNobody, dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("control: %w: ask as the user of that process, or as root", err)
	case err != nil:
		return fmt.Errorf("control: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	var a answer
	err = json.NewEncoder(c).Encode(r) // fails already when the other side has closed
	if err == nil {
		err = json.NewDecoder(c).Decode(&a)
	}
	if err != nil {
		return fmt.Errorf("control: no answer to %q: %w: is the process busy? ask again", r.Do, err)
	}
	if a.Error != "" {
		return fmt.Errorf("control: %s", a.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("control: answer to %q: %w", r.Do, err)
	}
	return nil
}
