package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handler answers a request; its result is sent as JSON.
type Handler func(ctx context.Context, r Request) (result any, err error)

// Handlers answer by what is asked for.
type Handlers map[string]Handler

// Server listens at the socket of one state directory.
type Server struct {
	listener *net.UnixListener
	path     string
	handlers Handlers
	admit    func(uid uint32) bool
	places   chan struct{}
	serving  sync.WaitGroup
}

// Listen makes the socket in dir, mode 0600. A socket that a dead process left
// is replaced: hold the directory's lock.
func Listen(dir string, handlers Handlers) (*Server, error) {
	l, err := listen(dir, File)
	if err != nil {
		return nil, err
	}
	return &Server{
		listener: l, path: filepath.Join(dir, File), handlers: handlers, admit: ownOrRoot,
		places: make(chan struct{}, maxAtOnce),
	}, nil
}

// listen makes the socket of that name in dir.
func listen(dir, name string) (listener *net.UnixListener, err error) {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control: %w", err)
	}
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	err = reach(dir, name, func(path string) error {
		l, err := private.Listen(context.Background(), "unix", path)
		if err == nil {
			listener = l.(*net.UnixListener)
			listener.SetUnlinkOnClose(false) // its name is gone when path is one of /proc
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("control: listen at %s: %w", path, err)
	}
	return listener, nil
}

// ownOrRoot admits the user of this process, and root.
func ownOrRoot(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// Serve answers until ctx ends, then removes the socket and waits for the
// answers that are under way.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer stop()
	defer s.serving.Wait()
	defer os.Remove(s.path)
	for {
		c, err := s.listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("control: accept at %s: %w", s.path, err)
		}
		select {
		case s.places <- struct{}{}:
			s.serving.Go(func() {
				defer func() { <-s.places }()
				defer c.Close()
				s.one(ctx, c)
			})
		default:
			c.Close() // too many at once: the asker sees the end of the stream
		}
	}
}

// one serves one connection. A connection that breaks is the asker's concern.
func (s *Server) one(ctx context.Context, c *net.UnixConn) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = c.SetDeadline(time.Now().Add(patience))
	result, err := s.answer(ctx, c)
	a := answer{}
	if err == nil {
		a.Result, err = json.Marshal(result)
	}
	if err != nil {
		a = answer{Error: err.Error()}
	}
	_ = json.NewEncoder(c).Encode(a)
}

func (s *Server) answer(ctx context.Context, c *net.UnixConn) (any, error) {
	idle := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now()) })
	defer idle()
	line, err := bufio.NewReader(io.LimitReader(c, maxRequest)).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("no request of one line below %d octets came: %w", maxRequest, err)
	}
	uid, err := peer(c)
	if err != nil {
		return nil, err
	}
	if !s.admit(uid) {
		return nil, fmt.Errorf("user %d may not control a process of user %d: ask as that user or as root", uid, os.Geteuid())
	}
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, fmt.Errorf("the request is not JSON: %w", err)
	}
	h := s.handlers[r.Do]
	if h == nil {
		return nil, fmt.Errorf("%q cannot be asked of this process: use the blackswan of its own version", r.Do)
	}
	return h(ctx, r)
}

// peer is the user at the other end.
func peer(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
