package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browser runs Chromium on a page and returns what it printed.
func browser(t *testing.T, page string, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI=true and no chromium: interop/setup.sh installs it")
		}
		t.Skip("left out: the page in a real browser needs chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + t.TempDir()}, args...)
	cmd := exec.CommandContext(ctx, program, append(args, "file://"+page)...)
	cmd.Dir = t.TempDir()
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, &problems)
	}
	return out
}

// The page that a browser shows has the figures of the JSON, and a curve.
func TestStormPage(t *testing.T) {
	p := newPerson(t)
	page := filepath.Join(p.home, "storm.html")
	var r map[string]any
	out := p.ok(t, "storm", "--self", "--clients", "400", "--resume", "--json", "--report", page)
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	dom := string(browser(t, page, "--dump-dom"))
	shown := map[string]string{}
	for _, m := range regexp.MustCompile(`<b data-key="([^"]+)">([^<]*)</b>`).FindAllStringSubmatch(dom, -1) {
		shown[m[1]] = m[2]
		if want := lookUp(r, m[1]); want != m[2] {
			t.Errorf("%s: the page shows %q, the JSON has %q", m[1], m[2], want)
		}
	}
	for _, key := range strings.Fields(`clients resumed fell_back failed back_seconds retransmissions full_per_second resume_per_second
		full_ms.p99 resume_ms.p99 detect_ms.p50 back_ms.max gateway_cpu_us_full gateway_cpu_us_resume gateway_cpu_us_quiet
		gateway_rss_bytes gateway_rss_bytes_per_sa gateway_gc_cpu_fraction storm_rss_bytes storm_cpu_us_resume detected_by.roll_call`) {
		if shown[key] == "" {
			t.Errorf("the page does not show %s", key)
		}
	}
	picture := filepath.Join(t.TempDir(), "page.png")
	browser(t, page, "--window-size=1000,1500", "--screenshot="+picture)
	if n := countPixels(t, picture, color.RGBA{0x0b, 0x6e, 0x99, 0xff}); n < 500 {
		t.Errorf("the curve has %d pixels", n)
	}
}

// lookUp is the text of a figure of the JSON, "back_ms.p50" being one within
// another.
func lookUp(r map[string]any, key string) string {
	outer, inner, nested := strings.Cut(key, ".")
	if nested {
		within, _ := r[outer].(map[string]any)
		return fmt.Sprint(within[inner])
	}
	return fmt.Sprint(r[key])
}

// countPixels counts those of exactly that colour.
func countPixels(t *testing.T, file string, want color.RGBA) (n int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	bounds := picture.Bounds()
	for at := (image.Point{}); at.Y < bounds.Dy(); at.Y++ {
		for at.X = 0; at.X < bounds.Dx(); at.X++ {
			if color.RGBAModel.Convert(picture.At(bounds.Min.X+at.X, bounds.Min.Y+at.Y)) == want {
				n++
			}
		}
	}
	return n
}
