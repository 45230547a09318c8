package interop

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// lab is the network of this run; nil when the peers cannot run here.
var lab *Lab

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if missing := missing(); missing != "" {
		fmt.Printf("left out: the real peers strongSwan, libreswan and tshark: %s\n", missing)
		if os.Getenv("CI") == "true" {
			fmt.Println("CI=true: nothing may be left out")
			return 1
		}
		return 0
	}
	var err error
	if lab, err = NewLab(); err != nil {
		fmt.Println(err)
		return 1
	}
	defer lab.Close()
	return m.Run()
}

// missing says why the peers cannot run on this machine, or nothing.
func missing() string {
	if os.Getuid() != 0 {
		return "they need root"
	}
	for _, program := range []string{"ip", "charon-systemd", "swanctl", "tshark", "tcpdump", "nft", "iperf3", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed: run interop/setup.sh"
		}
	}
	return ""
}
