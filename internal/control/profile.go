package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"time"
)

// ProfileFile is the name of the socket of Profile in a state directory:
//
//	curl --unix-socket DIR/pprof.sock 'http://gateway/debug/pprof/profile?seconds=5' >cpu.pprof
const ProfileFile = "pprof.sock"

// Profile serves the profiles of this process, as package net/http/pprof makes
// them, at a socket in dir of mode 0600, until ctx ends. Then it removes it.
// Hold the directory's lock.
func Profile(ctx context.Context, dir string) error {
	l, err := listen(dir, ProfileFile)
	if err != nil {
		return err
	}
	defer os.Remove(filepath.Join(dir, ProfileFile))
	pages := http.NewServeMux()
	pages.HandleFunc("/debug/pprof/", pprof.Index)
	pages.HandleFunc("/debug/pprof/profile", pprof.Profile)
	pages.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: pages, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control: profiles: %w", err)
	}
	return nil
}
