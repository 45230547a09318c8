package floors

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// imports applies the rules about who may import whom, and notes the local
// names of the imports for the rules that come after.
func (h *house) imports(s *source) {
	for _, spec := range s.file.Imports {
		to, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it already
		}
		line := s.line(spec.Pos())
		local := path.Base(to)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == "." {
			h.add(s.name, line, "import", "%s is imported with a dot: the reader cannot see where a name comes from", to)
		}
		s.names[local] = to
		if s.room == nil {
			continue // reported once, by listed
		}
		if room, ok := h.inside(to); ok {
			h.floor(s, line, room)
		} else if s.room.Pure && !s.test {
			h.outside(s, line, to)
		}
	}
}

// inside returns the room that an import path of this module means.
func (h *house) inside(to string) (room string, ok bool) {
	if to == h.module {
		return ".", true
	}
	return strings.CutPrefix(to, h.module+"/")
}

// floor judges an import of one room by another. Tests may stand on a
// neighbour of their floor and use kits; they never reach up.
func (h *house) floor(s *source, line int, to string) {
	room := h.rooms[to]
	switch {
	case room == nil:
		h.add(s.name, line, "floor", "imports %s, which is not on the plan", to)
	case room == s.room:
		// an external test package imports what it tests
	case room.Kit && !s.test && !s.room.Kit:
		h.add(s.name, line, "kit", "imports the test kit %s: only tests do", to)
	case slices.Contains(s.room.Beside, to) && room.Floor == s.room.Floor:
		h.used[[2]string{s.room.Path, to}] = true
	case room.Floor > s.room.Floor:
		h.add(s.name, line, "floor", "%s (floor %d) imports %s (floor %d) above it", s.room.Path, s.room.Floor, to, room.Floor)
	case room.Floor == s.room.Floor && !s.test:
		h.add(s.name, line, "floor", "%s imports %s on its own floor %d", s.room.Path, to, room.Floor)
	}
}

// outsidePure are the packages of the standard library that a pure room never
// imports, each with the packages below it.
var outsidePure = []string{
	"context", "crypto/rand", "log", "math/rand", "net", "os", "runtime", "sync", "syscall", "testing",
}

// outside judges what a pure room imports from outside the module.
func (h *house) outside(s *source, line int, to string) {
	if host, _, _ := strings.Cut(to, "/"); strings.Contains(host, ".") {
		if !slices.Contains(s.room.Modules, to) {
			h.add(s.name, line, "pure", "imports %s: %s is built on the standard library%s", to, s.room.Path, but(s.room.Modules))
		}
		return
	}
	if to == "net/netip" {
		return // addresses are values
	}
	for _, never := range outsidePure {
		if to == never || strings.HasPrefix(to, never+"/") {
			h.add(s.name, line, "pure", "imports %s: hand it in as an argument", to)
		}
	}
}

func but(modules []string) string {
	if len(modules) == 0 {
		return " alone"
	}
	return " and " + strings.Join(modules, ", ")
}

// outsideCalls are names of allowed packages that reach outside all the same.
var outsideCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Local", "LoadLocation"},
	"fmt":  {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
}

// pure judges the body of a pure room: no goroutine, no channel, no clock.
func (h *house) pure(s *source) {
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname") {
				h.add(s.name, s.line(c.Pos()), "pure", "go:linkname reaches around the plan")
			}
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			h.add(s.name, s.line(n.Pos()), "pure", "starts a goroutine")
		case *ast.ChanType:
			h.add(s.name, s.line(n.Pos()), "pure", "has a channel")
		case *ast.SelectStmt:
			h.add(s.name, s.line(n.Pos()), "pure", "has a select")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				h.add(s.name, s.line(n.Pos()), "pure", "receives from a channel")
			}
		case *ast.SelectorExpr:
			if of, name, ok := s.qualified(n); ok && slices.Contains(outsideCalls[of], name) {
				h.add(s.name, s.line(n.Pos()), "pure", "uses %s.%s: time and output are arguments and results", of, name)
			}
		}
		return true
	})
}

// qualified reads pkg.Name, where pkg is an import of this file.
func (s *source) qualified(n *ast.SelectorExpr) (pkg, name string, ok bool) {
	id, ok := n.X.(*ast.Ident)
	if !ok {
		return "", "", false
	}
	pkg, ok = s.names[id.Name]
	return pkg, n.Sel.Name, ok
}

// sleep refuses time.Sleep in tests, where it is either too short or too slow.
// Inside testing/synctest it is exact and free.
func (h *house) sleep(s *source) {
	for _, path := range s.names {
		if path == "testing/synctest" {
			return
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if n, ok := n.(*ast.SelectorExpr); ok {
			if pkg, name, ok := s.qualified(n); ok && pkg == "time" && name == "Sleep" {
				h.add(s.name, s.line(n.Pos()), "sleep", "time.Sleep outside testing/synctest: wait for the event itself")
			}
		}
		return true
	})
}
