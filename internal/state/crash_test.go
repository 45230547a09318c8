package state

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"testing"
)

// victimEnv makes this test binary a gateway that starts, and takes new epochs
// until it is killed.
const victimEnv = "BLACKSWAN_STATE_VICTIM"

func victim(path string) {
	ctx := context.Background()
	d, err := Open(path, Options{MachineID: []string{"/dev/null"}})
	if err == nil {
		var b *Boot
		if b, err = d.Boot(ctx, noon, rand.Reader); err == nil {
			fmt.Printf("%d %x\n", b.SPI.Base, b.Installation)
			for epoch := uint32(0); err == nil; {
				if epoch, err = d.NextEpoch(ctx); err == nil {
					fmt.Printf("%d %x\n", epoch, b.Installation)
				}
			}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// TestRuleB4_EpochGrowsOverCrashes: no epoch is handed out twice, whenever the
// process is killed, the first start included; the installation stays the same
// once a process has seen it.
func TestRuleB4_EpochGrowsOverCrashes(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 3
	}
	path := t.TempDir()
	last, name, seen := uint32(0), "", 0
	for range rounds {
		lines := killAt(t, path, randomInt(t, 30))
		for _, line := range lines {
			var epoch uint32
			var installation string
			if _, err := fmt.Sscanf(line, "%d %s", &epoch, &installation); err != nil {
				t.Fatalf("the gateway said %q", line)
			}
			if epoch <= last {
				t.Fatalf("epoch %d after %d", epoch, last)
			}
			if name != "" && installation != name {
				t.Fatalf("installation %s became %s", name, installation)
			}
			last, name = epoch, installation
			seen++
		}
	}
	t.Logf("%d crashes, %d epochs", rounds, seen)
	if seen == 0 {
		t.Error("no epoch was taken")
	}
}

func randomInt(t *testing.T, n int64) int {
	t.Helper()
	i, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		t.Fatal(err)
	}
	return int(i.Int64())
}

// killAt kills a victim after n lines, 0 for at once, and returns what it said.
func killAt(t *testing.T, path string, n int) []string {
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
	var said []string
	lines := bufio.NewScanner(out)
	for n > len(said) && lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	cmd.Wait()
	return said
}
