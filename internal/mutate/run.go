package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"blackswan/internal/clauses"
)

// verdict is what became of one broken line under one test.
type verdict string

const (
	killed   verdict = "killed"
	timedOut verdict = "killed (time)" // the test noticed by never ending
	survived verdict = "SURVIVED"
	sick     verdict = "ERROR" // the line cannot be broken, or the test fails by itself
	open     verdict = "open"  // row without a test, or without a mark
)

// trial is one line to break and the test that must fail.
type trial struct {
	Row     clauses.Row
	Site    *site // nil: the row has none
	Verdict verdict
	Why     string // of sick and open
}

// bench builds test binaries with the overlay, each once, and runs tests.
type bench struct {
	root     string
	folder   string // for binaries
	overlay  string
	patience time.Duration

	mu     sync.Mutex
	built  map[string]func() (string, error)              // room -> binary
	honest map[clauses.Test]func() (time.Duration, error) // test -> how long it takes unbroken
}

func newBench(root, folder, overlay string, patience time.Duration) *bench {
	return &bench{
		root: root, folder: folder, overlay: overlay, patience: patience,
		built:  make(map[string]func() (string, error)),
		honest: make(map[clauses.Test]func() (time.Duration, error)),
	}
}

// once returns the value of build for key, built for the first who asks.
func once[K comparable, V any](mu *sync.Mutex, m map[K]func() (V, error), key K, build func() (V, error)) (V, error) {
	mu.Lock()
	f, ok := m[key]
	if !ok {
		f = sync.OnceValues(build)
		m[key] = f
	}
	mu.Unlock()
	return f()
}

// binary builds the tests of a room with every marked line in it and below it
// guarded.
func (b *bench) binary(room string) (string, error) {
	return once(&b.mu, b.built, room, func() (string, error) {
		out := filepath.Join(b.folder, strings.ReplaceAll(room, "/", "_")+".test")
		cmd := exec.Command("go", "test", "-c", "-vet=off", "-overlay", b.overlay, "-o", out, "./"+room)
		cmd.Dir = b.root
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("the broken lines do not compile: mark others\n%s", text)
		}
		if _, err := os.Stat(out); err != nil {
			return "", errors.New("the room has no tests")
		}
		return out, nil
	})
}

// run runs one test with one site broken, "" for none.
func (b *bench) run(t clauses.Test, broken string, limit time.Duration) (passed, inTime bool, output string, err error) {
	binary, err := b.binary(t.Room)
	if err != nil {
		return false, false, "", err
	}
	pattern := "^" + t.Func + "$"
	for sub := range strings.SplitSeq(t.Sub, "/") {
		if sub != "" {
			pattern += "/^" + regexp.QuoteMeta(sub) + "$"
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", pattern, "-test.v", "-test.failfast")
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	cmd.Dir = filepath.Join(b.root, filepath.FromSlash(t.Room))
	cmd.Env = append(os.Environ(), environment+"="+broken)
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return false, true, "", err
	}
	return err == nil, ctx.Err() == nil, text.String(), nil
}

// longest is how long a test may take while nothing is broken.
const longest = time.Minute

// healthy runs a test with nothing broken: it must run, and pass.
func (b *bench) healthy(t clauses.Test) (time.Duration, error) {
	return once(&b.mu, b.honest, t, func() (time.Duration, error) {
		start := time.Now()
		passed, inTime, output, err := b.run(t, "", longest)
		name := t.Func
		if t.Sub != "" {
			name += "/" + t.Sub
		}
		switch {
		case err != nil:
			return 0, err
		case !inTime:
			return 0, fmt.Errorf("%v takes over %v with nothing broken", t, longest)
		case !passed:
			return 0, fmt.Errorf("%v fails with nothing broken:\n%s", t, output)
		case !strings.Contains(output, "--- PASS: "+name+" "):
			return 0, fmt.Errorf("%v was skipped, or there is no such test", t)
		}
		return time.Since(start), nil
	})
}

// try breaks the line of a trial and fills in the verdict.
func (b *bench) try(t *trial) {
	test, err := clauses.ParseTest(t.Row.Test)
	if err == nil {
		err = t.Site.Err
	}
	var took time.Duration
	if err == nil {
		took, err = b.healthy(test)
	}
	var passed, inTime bool
	if err == nil {
		passed, inTime, _, err = b.run(test, t.Site.ID(), 10*took+b.patience)
	}
	switch {
	case err != nil:
		t.Verdict, t.Why = sick, err.Error()
	case !inTime:
		t.Verdict = timedOut
	case passed:
		t.Verdict = survived
	default:
		t.Verdict = killed
	}
}
