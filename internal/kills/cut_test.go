package kills

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Cuts lie at every page, and in a large file at so many of them.
const (
	pageSize = 4096
	maxCuts  = 60
)

// cutStore starts the gateway on copies of its state whose store was cut at a
// page: with all that was there, or not at all, and never on an empty one.
func cutStore(t *testing.T, s *site, m *memory, random *rand.Rand) {
	whole, err := os.ReadFile(filepath.Join(s.dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	pages := random.Perm((len(whole) + pageSize - 1) / pageSize)
	sizes := []int{0, pageSize, 2 * pageSize, len(whole)}
	for _, page := range pages[:min(len(pages), maxCuts)] {
		sizes = append(sizes, page*pageSize)
	}
	refused := 0
	for _, size := range sizes {
		cut := *m
		if !cut.opens(t, s.copy(t, whole[:size]), size) {
			refused++
		} else if size == 0 {
			t.Error("a gateway began anew on an empty store")
		}
	}
	t.Logf("%d cuts of a store of %d pages, %d refused", len(sizes), len(whole)/pageSize, refused)
	if refused == 0 || refused == len(sizes) {
		t.Error("no cut was refused, or the whole file was")
	}
}

// copy is the site with another store.
func (s *site) copy(t *testing.T, store []byte) *site {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gateway")
	c := &site{dir: dir, config: s.config, ike: s.ike, nat: s.nat}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"store.db": store}
	for _, name := range []string{"state.key", "machine-id"} {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// opens starts a gateway on a cut store. It reports whether that one listens,
// with everything that was there; the other way is to say why not.
func (m *memory) opens(t *testing.T, s *site, size int) bool {
	t.Helper()
	g := s.start(t)
	if g.settled(t) {
		g.kill(t)
		m.survived(t, s.dir, true)
		return true
	}
	<-g.done
	if code := g.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("cut to %d octets: exit code %d, want 1", size, code)
	}
	for _, word := range []string{"refusing to start on it", filepath.Join(s.dir, "store.db"), "restore it from a backup"} {
		if !strings.Contains(g.log(), word) {
			t.Errorf("cut to %d octets: the gateway does not say %q:\n%s", size, word, g.log())
		}
	}
	if info, err := os.Stat(filepath.Join(s.dir, "store.db")); err != nil || info.Size() != int64(size) {
		t.Errorf("cut to %d octets: the refused file was touched: %v", size, err)
	}
	return false
}
