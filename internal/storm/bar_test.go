package storm

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestBar(t *testing.T) {
	var out strings.Builder
	b := bar{to: &out}
	now := time.Unix(1000, 0)
	b.show(now, "come back", 16, 64)
	b.show(now.Add(barEvery/2), "come back", 17, 64) // too soon
	b.show(now.Add(barEvery), "come back", 64, 64)
	b.end()
	b.end()
	b.say("the gateway listens again")
	want := "\rcome back       [========                        ] 16 of 64 " +
		"\rcome back       [" + strings.Repeat("=", barWidth) + "] 64 of 64 \nthe gateway listens again\n"
	if out.String() != want {
		t.Errorf("%q\nwant\n%q", out.String(), want)
	}
	none := bar{} // no terminal
	none.show(now, "come back", 1, 2)
	none.say("nothing")
	none.end()
}

// A storm shows how far it is, at a fixed rate and after the crash.
func TestProgress(t *testing.T) {
	_, o := raiseInside(t, 40)
	var out strings.Builder
	o.Progress, o.Rate = &out, 100
	r, err := Run(t.Context(), o)
	if err != nil || r.Resumed != 40 {
		t.Fatal(r, err)
	}
	crowds := runtime.GOMAXPROCS(0) // so many begin at once, and as many again every crowds/100 s
	if most := 40 / (float64(40-crowds) / 100); r.FullRate > most {
		t.Errorf("%g a second, and %g were allowed", r.FullRate, most)
	}
	at := 0
	for _, want := range []string{"\rconnect ", " of 40 \n", "SIGKILL to the gateway\n", "the gateway listens again\n"} {
		next := strings.Index(out.String()[at:], want)
		if next < 0 {
			t.Fatalf("no %q after %d octets of %q", want, at, out.String())
		}
		at += next
	}
}
