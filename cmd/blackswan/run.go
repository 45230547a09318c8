package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"fmt"

	"blackswan"
	"blackswan/internal/control"
	"blackswan/internal/state"
)

// credentialKey gives cfg the state key of a systemd credential, if there is
// one and the configuration has none.
func credentialKey(cfg *blackswan.Config) error {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || len(cfg.StateKey) > 0 {
		return nil
	}
	key, err := state.ReadStateKey(filepath.Join(dir, "state.key"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	cfg.StateKey = key[:]
	return err
}

// needsPorts explains why a port could not be opened.
func needsPorts(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return usage(fmt.Errorf("%w: ports below 1024 need root: add --port 5500 --nat-port 5501, or run as root, or 'setcap cap_net_bind_service+ep' the program", err))
	case errors.Is(err, syscall.EADDRINUSE):
		return usage(fmt.Errorf("%w: another process has the port, perhaps another IKE daemon: stop it, or choose others with --port and --nat-port", err))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return usage(fmt.Errorf("%w: --listen wants an address of this machine", err))
	}
	return err
}

// serve runs a node together with its control socket until the node ends.
func serve(ctx context.Context, cfg *blackswan.Config, handlers control.Handlers, log *slog.Logger, node func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if cfg.StateDir == "" {
		return node(ctx)
	}
	server, err := control.Listen(cfg.StateDir, handlers)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() {
		err := server.Serve(ctx)
		if err != nil {
			log.Error("no more control", "error", err)
		}
		served <- err
	}()
	err = node(ctx)
	stop()
	return errors.Join(err, <-served)
}

// onSignal calls f with each signal until ctx ends.
func onSignal(ctx context.Context, f func(os.Signal), signals ...os.Signal) {
	got := make(chan os.Signal, 4)
	signal.Notify(got, signals...)
	go func() {
		defer signal.Stop(got)
		for {
			select {
			case s := <-got:
				f(s)
			case <-ctx.Done():
				return
			}
		}
	}()
}
