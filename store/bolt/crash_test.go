package bolt

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"blackswan/store"
)

// victimEnv makes this test binary the process that TestKill kills.
const victimEnv = "BLACKSWAN_BOLT_VICTIM"

func TestMain(m *testing.M) {
	if path := os.Getenv(victimEnv); path != "" {
		victim(path)
	}
	os.Exit(m.Run())
}

// victim writes numbered batches from several goroutines and prints the number
// of each that the store acknowledged. Every tenth has a write behind before it.
func victim(path string) {
	ctx := context.Background()
	s, err := Open(path, true)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var mu sync.Mutex
	round := rand.Uint32()
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				n := fmt.Sprintf("%08x/%d/%d", round, w, i)
				if i%10 == 0 {
					err = s.Apply(ctx, []store.Op{batchOp("behind/", n)}, store.Behind)
				}
				if err == nil {
					err = s.Apply(ctx, []store.Op{batchOp("a/", n), batchOp("b/", n)}, store.Durable)
				}
				mu.Lock()
				if err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				fmt.Println(n)
				mu.Unlock()
			}
		}()
	}
	select {}
}

func batchOp(prefix, n string) store.Op {
	return store.Op{Key: []byte(prefix + n), Value: append(make([]byte, 200), n...)}
}

// TestKill kills a writing process at random moments: what it was told is
// written is there, batches are whole, and the file opens.
func TestKill(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 3
	}
	path := filepath.Join(t.TempDir(), "store.db")
	if err := openAt(t, path, false).Close(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	for range rounds {
		acknowledged = append(acknowledged, killAfter(t, path, 1+rand.IntN(200))...)
		verify(t, path, acknowledged)
	}
	t.Logf("%d rounds, %d acknowledged batches", rounds, len(acknowledged))
}

// killAfter starts a victim, kills it after n acknowledgements and returns all
// that it made.
func killAfter(t *testing.T, path string, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acks []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var round, w, i int
		if _, err := fmt.Sscanf(lines.Text(), "%x/%d/%d", &round, &w, &i); err != nil {
			t.Errorf("the victim failed: %s", lines.Text())
			break
		}
		if acks = append(acks, lines.Text()); len(acks) == n {
			cmd.Process.Kill()
		}
	}
	cmd.Process.Kill()
	if cmd.Wait() == nil {
		t.Fatal("the victim ended by itself")
	}
	return acks
}

func verify(t *testing.T, path string, acknowledged []string) {
	t.Helper()
	s := openAt(t, path, true)
	defer s.Close()
	there := make(map[string]bool)
	err := s.List(t.Context(), nil, func(e store.Entry) error {
		there[string(e.Key)] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range acknowledged {
		if !there["a/"+n] || !there["b/"+n] {
			t.Fatalf("batch %s was acknowledged and is lost", n)
		}
		if n[len(n)-1] == '0' && !there["behind/"+n] {
			t.Fatalf("the write behind before %s is lost", n)
		}
	}
	for k := range there {
		if k[0] == 'a' && !there["b"+k[1:]] {
			t.Fatalf("half of batch %s", k[2:])
		}
	}
}

// filled is a closed store of many pages, some of them free.
func filled(t *testing.T) (path string, want int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path, false)
	for i := range 300 {
		ops := []store.Op{batchOp("key/", strconv.Itoa(i))}
		if i == 100 {
			ops = append(ops, store.Op{Key: []byte("page"), Value: make([]byte, 20_000)})
		}
		if i >= 250 {
			ops = append(ops, store.Op{Key: fmt.Appendf(nil, "key/%d", i-250)})
		}
		d := store.Behind
		if i%30 == 0 {
			d = store.Durable
		}
		if err := s.Apply(t.Context(), ops, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, 251
}

// openDamaged opens a file that something happened to: either all of it is
// there or it is refused in words.
func openDamaged(t *testing.T, path string, want int) (opened bool) {
	t.Helper()
	s, err := Open(path, true)
	if err != nil {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%v: want ErrRefused", err)
		}
		return false
	}
	defer s.Close()
	n := 0
	err = s.List(t.Context(), nil, func(store.Entry) error { n++; return nil })
	if err != nil || n != want {
		t.Errorf("opened with %d of %d entries, %v", n, want, err)
	}
	return true
}

// TestRuleF6_CutFile: a file cut anywhere is whole or refused, never emptied.
func TestRuleF6_CutFile(t *testing.T) {
	path, want := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{0, 1, 15, 16, 80, 4095, 4097, 8191, 8193, 12287, 12289, len(whole) - 1}
	for n := os.Getpagesize(); n <= len(whole); n += os.Getpagesize() {
		sizes = append(sizes, n)
	}
	opened, refused := 0, 0
	for _, size := range sizes {
		cut := filepath.Join(t.TempDir(), "cut.db")
		if err := os.WriteFile(cut, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if openDamaged(t, cut, want) {
			opened++
		} else if refused++; size > 2*os.Getpagesize() {
			if err := examine(cut); err == nil || !strings.Contains(err.Error(), "cut: its header speaks of") {
				t.Errorf("cut to %d octets: %v; want the two sizes", size, err)
			}
		}
		if info, err := os.Stat(cut); err != nil || info.Size() < int64(size) {
			t.Fatalf("cut to %d octets: the file was made smaller", size)
		}
	}
	t.Logf("%d sizes: %d opened, %d refused", len(sizes), opened, refused)
	if opened == 0 || refused < 10 {
		t.Error("the test cut nothing")
	}
}

// TestRuleF6_ZeroedPage: a page lost in a power cut is a free one, or the file
// is refused.
func TestRuleF6_ZeroedPage(t *testing.T) {
	path, want := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := os.Getpagesize()
	refused := 0
	for at := 0; at < len(whole); at += size {
		hurt := append([]byte{}, whole...)
		clear(hurt[at : at+size])
		bad := filepath.Join(t.TempDir(), "bad.db")
		if err := os.WriteFile(bad, hurt, 0o600); err != nil {
			t.Fatal(err)
		}
		if at < 2*size { // a lost header may leave the state before the last commit
			s, err := Open(bad, true)
			if err == nil {
				err = s.Close()
			} else if errors.Is(err, ErrRefused) {
				err = nil
			}
			if err != nil {
				t.Errorf("header %d: %v", at/size, err)
			}
		} else if !openDamaged(t, bad, want) {
			refused++
		}
	}
	t.Logf("%d pages, %d refused", len(whole)/size, refused)
	if refused < 10 {
		t.Error("the test hurt nothing")
	}
}

// TestRuleF6_LostFreePages: pages that are neither used nor free are found by
// the engine's own check.
func TestRuleF6_LostFreePages(t *testing.T) {
	path, _ := filled(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A page begins: number 8, flags 2, count 2, octets of overflow 4.
	const flagsAt, countAt, freelist = 8, 10, 0x10
	found := 0
	for at := 2 * os.Getpagesize(); at < len(b); at += os.Getpagesize() {
		if binary.NativeEndian.Uint16(b[at+flagsAt:]) == freelist && binary.NativeEndian.Uint16(b[at+countAt:]) > 0 {
			clear(b[at+countAt : at+countAt+2])
			found++
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, true); found == 0 || !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "unreachable unfreed") {
		t.Errorf("%d free lists emptied: %v; want ErrRefused", found, err)
	}
}
