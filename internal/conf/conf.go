// Package conf reads a configuration file. The file is YAML and mirrors
// blackswan.Config one to one: each field is a key in small letters with
// underscores, NATPort is nat_port. What is not written keeps its default.
//
//	listen: [192.0.2.1]
//	connections:
//	  - name: office
//	    local:  {id: gw.example.org, auth: cert, cert: gw.pem, key: gw.key}
//	    remote: {id: "*@example.org", auth: cert, ca: [ca.pem]}
//	    local_ts: [10.7.0.0/16]
//
// Paths in it are relative to the directory of the file. Durations have a unit,
// as 30s or 8h; "dpd: never" is a DPD below zero.
package conf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"blackswan"
)

// maxFile is the largest file that is read, in octets.
const maxFile = 4 << 20

// Problem is one thing wrong in a file, and what to do about it.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0: not a place in the file
	Key          string // "connections[0].local.id", "" at the top
	What, Cure   string
}

// Error is "gateway.yaml:3:5: connections[0].dpd: 30 has no unit: write 30s".
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	for _, part := range []string{p.Key, p.What, p.Cure} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	return b.String()
}

// Problems are all that is wrong in a file, in its order.
type Problems []Problem

// Error has a line for each.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Read reads the file at path. The error, of type Problems, tells all that is
// wrong with its form; Check judges the rest. text is what Check wants.
func Read(path string) (cfg blackswan.Config, text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return cfg, nil, Problems{{File: path, What: errors.Unwrap(err).Error(), Cure: "name a file that can be read"}}
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return cfg, nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxFile {
		return cfg, nil, Problems{{File: path, What: "larger than 4 MiB", Cure: "this is not a configuration file"}}
	}
	cfg, err = Parse(path, text)
	return cfg, text, err
}

// Parse decodes text, the contents of the file at path, which is not read. It
// judges form alone: keys and the types of their values.
func Parse(path string, text []byte) (blackswan.Config, error) {
	var cfg blackswan.Config
	d := decoder{file: path}
	body, problem := parse(path, text)
	switch {
	case problem != nil:
		return cfg, Problems{*problem}
	case body != nil:
		d.value(body, reflect.ValueOf(&cfg).Elem(), "")
	}
	if len(d.problems) > 0 {
		return blackswan.Config{}, d.problems
	}
	resolve(&cfg, filepath.Dir(path))
	return cfg, nil
}

// parse returns the only document of text, nil if there is nothing in it.
func parse(path string, text []byte) (ast.Node, *Problem) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		p := Problem{File: path, What: err.Error(), Cure: "this is not YAML"}
		var at yaml.Error
		if errors.As(err, &at) {
			p.What, p.Cure = at.GetMessage(), "correct the YAML here"
			p.Line, p.Column = position(at.GetToken())
			if strings.Contains(lineOf(text, p.Line), "::") {
				p.Cure = "write IPv6 addresses between quotes here"
			}
		}
		return nil, &p
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			p := Problem{File: path, What: "a second document", Cure: "one file holds one configuration: remove the line ---"}
			p.Line, p.Column = position(tokenOf(doc.Body))
			return nil, &p
		default:
			body = doc.Body
		}
	}
	return body, nil
}

// lineOf is one line of text, from 1; "" if it has none of that number.
func lineOf(text []byte, number int) string {
	lines := strings.Split(string(text), "\n")
	if number < 1 || number > len(lines) {
		return ""
	}
	return lines[number-1]
}

// tokenOf is where n begins; YAML's own token of a mapping is a colon.
func tokenOf(n ast.Node) *token.Token {
	switch m := n.(type) {
	case *ast.MappingValueNode:
		return m.Key.GetToken()
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			return m.Values[0].Key.GetToken()
		}
	}
	return n.GetToken()
}

func position(t *token.Token) (line, column int) {
	if t == nil || t.Position == nil {
		return 0, 0
	}
	return t.Position.Line, t.Position.Column
}

// resolve makes the paths of cfg relative to dir.
func resolve(cfg *blackswan.Config, dir string) {
	under := func(paths ...*string) {
		for _, p := range paths {
			if *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(dir, *p)
			}
		}
	}
	under(&cfg.StateDir, &cfg.TicketKeys, &cfg.KeyLog)
	for i := range cfg.Connections {
		c := &cfg.Connections[i]
		for _, s := range []*blackswan.Side{&c.Local, &c.Remote} {
			under(&s.Cert, &s.Key)
			for i := range s.CA {
				under(&s.CA[i])
			}
			for i := range s.CRL {
				under(&s.CRL[i])
			}
		}
	}
}
