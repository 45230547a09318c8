package blackswan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestA7_LinkChanged: a change of our links makes one liveness check, and ends
// nothing.
func TestA7_LinkChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		c, cr := l.connect("ann", l.client("ann"))
		time.Sleep(2 * time.Second)
		before := l.sent()
		for range 10 {
			c.linkChanged()
		}
		time.Sleep(2 * time.Second)
		if n := l.sent() - before; n != 1 {
			t.Errorf("%d answers to liveness checks, want 1", n)
		}
		l.want("ann", Down, 0)
		c.linkChanged()
		cr.stop(t, nil) // does not wait for the errand
		gr.stop(t, nil)
	})
}

// TestKeyLog: the keys of each SA are one line, for its owner's eyes only.
func TestKeyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.gw.KeyLog = filepath.Join(t.TempDir(), "keys")
		g, gr := l.gateway()
		_, cr := l.connect("ann", l.client("ann"))
		time.Sleep(time.Second)
		spi := g.Status(-1).SAs[0].SPIr
		cr.stop(t, nil)
		gr.stop(t, nil)
		text, err := os.ReadFile(l.gw.KeyLog)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), spi) {
			t.Errorf("key log: %q", text)
		}
		if info, err := os.Stat(l.gw.KeyLog); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode: %v, %v", info.Mode(), err)
		}
	})
}

// TestD12_AnotherProfile: a ticket of other credentials is wiped, not shown.
func TestD12_AnotherProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, gr := l.gateway()
		cfg := l.keeping("ann")
		_, cr := l.connect("ann", cfg)
		time.Sleep(time.Second)
		cr.stop(t, ErrKeepTicket)
		cfg.Connections[0].Remote.ID = "*"
		_, cr = l.connect("ann", cfg)
		time.Sleep(time.Second)
		l.want("ann", Established, 2)
		l.want("ann", Resuming, 0)
		cr.stop(t, nil)
		gr.stop(t, nil)
	})
}

// TestAdvice: what is allowed and yet unwise is said at the start.
func TestAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.gw.Connections[0].PSK = "secret"
		g, gr := l.gateway()
		notes := strings.Join(g.Status(0).Notes, "\n")
		if !strings.Contains(notes, "office: ") || strings.Contains(notes, "secret\n") {
			t.Errorf("notes: %q", notes)
		}
		gr.stop(t, nil)
	})
}

func TestNamedConnection(t *testing.T) {
	two := Config{Connections: []Connection{{Name: "office"}, {Name: "lab"}}}
	if i, err := two.named("lab"); i != 1 || err != nil {
		t.Errorf("lab is number %d, %v", i, err)
	}
	for _, name := range []string{"", "home"} {
		if _, err := two.named(name); err == nil || !strings.Contains(err.Error(), "office, lab") {
			t.Errorf("%q: %v", name, err)
		}
	}
	one := Config{Connections: two.Connections[:1]}
	if i, err := one.named(""); i != 0 || err != nil {
		t.Errorf("the only one: %d, %v", i, err)
	}
}
