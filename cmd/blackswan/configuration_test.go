package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestConfigurationPage does what docs/configuration.md says, and checks its
// two files.
func TestConfigurationPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile("(?s)```yaml\n# (\\w+)\\.yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(files) != 2 {
		t.Fatalf("%d files, want gateway.yaml and client.yaml", len(files))
	}
	p := newPerson(t)
	for _, command := range regexp.MustCompile("`blackswan (pki [^`]*)`").FindAllStringSubmatch(string(text), -1) {
		p.ok(t, strings.Fields(command[1])...)
	}
	p.ok(t, "pki", "issue", ".", "--id", "ann@example.org", "--out", "ann")
	for _, file := range files {
		p.put(t, file[1]+".yaml", file[2])
		var r struct {
			OK   bool
			Role string
		}
		p.json(t, &r, "check", file[1]+".yaml")
		if !r.OK || r.Role != file[1] {
			t.Errorf("%s.yaml: %+v", file[1], r)
		}
	}
}
