package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"blackswan"
)

// Check judges cfg, read from text, as a run in that role would. The error is
// Problems with the places of what is wrong. Flags may have changed cfg since
// it was read.
func Check(path string, text []byte, cfg *blackswan.Config, role blackswan.Role) error {
	err := cfg.Check(role)
	if err == nil {
		return nil
	}
	places := map[string]*token.Token{}
	if body, _ := parse(path, text); body != nil {
		locate(body, "", places)
	}
	var problems Problems
	for _, e := range flatten(err) {
		p := Problem{File: path, What: e.Error()}
		var field *blackswan.FieldError
		if errors.As(e, &field) {
			p.Key, p.What, p.Cure = field.Field, field.What, field.Cure
			p.Line, p.Column = position(nearest(places, field.Field))
		}
		problems = append(problems, p)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return problems
}

// flatten undoes errors.Join.
func flatten(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// nearest is the place of key, or of what it would stand in.
func nearest(places map[string]*token.Token, key string) *token.Token {
	for key != "" {
		if t := places[key]; t != nil {
			return t
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return places[""]
}

// locate notes where each value of n begins, by its key.
func locate(n ast.Node, key string, places map[string]*token.Token) {
	places[key] = tokenOf(n)
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, e := range n.Values {
			locate(e, key, places)
		}
		places[key] = tokenOf(n) // the entries wrote theirs
	case *ast.MappingValueNode:
		if name, ok := n.Key.(*ast.StringNode); ok {
			locate(n.Value, join(key, name.Value), places)
		}
	case *ast.SequenceNode:
		for i, e := range n.Values {
			locate(e, fmt.Sprintf("%s[%d]", key, i), places)
		}
	}
}
