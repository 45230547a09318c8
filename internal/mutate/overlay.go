package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"blackswan/internal/clauses"
)

// helper is added to every package with a marked line. The environment says
// which line is broken; none is when it says nothing.
const helper = `package %s

import (
	"os"
	"reflect"
)

var mutant = os.Getenv(%q)

func mutantOn(site string) bool { return mutant == site }

// mutantValue returns v, or something else while the site is broken.
func mutantValue[T any](site string, v T) T {
	mutantSpoil(site, &v)
	return v
}

// mutantSpoil makes *p something else while the site is broken: a bool and zero
// the opposite, all else zero.
func mutantSpoil[T any](site string, p *T) {
	if mutant != site {
		return
	}
	v := reflect.ValueOf(p).Elem()
	switch {
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanInt() && v.IsZero():
		v.SetInt(1)
	case v.CanUint() && v.IsZero():
		v.SetUint(1)
	case v.Kind() == reflect.String && v.IsZero():
		v.SetString("spoiled")
	default:
		v.SetZero()
	}
}
`

// helperFile is a name that no room has for a file of its own.
const helperFile = "zz_mutant.go"

// environment names the variable that breaks a site.
const environment = "BLACKSWAN_MUTANT"

// writeOverlay breaks all marked files of the tree at root into folder, leaves
// the tree itself alone, and returns the overlay for the go command with the
// sites in it. Only lines marked with a wanted clause are broken.
func writeOverlay(root, folder string, marks []clauses.Mark, wanted map[string]bool) (overlay string, sites []site, err error) {
	var replace struct{ Replace map[string]string }
	replace.Replace = make(map[string]string)
	put := func(name string, text []byte) error {
		copied := filepath.Join(folder, fmt.Sprintf("%d_%s", len(replace.Replace), path.Base(name)))
		replace.Replace[filepath.Join(root, filepath.FromSlash(name))] = copied
		return os.WriteFile(copied, text, 0o600)
	}
	done := make(map[string]bool) // files, and helpers of rooms
	for _, m := range marks {
		if !wanted[m.Clause] || done[m.File] {
			continue
		}
		done[m.File] = true
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.File)))
		if err != nil {
			return "", nil, err
		}
		broken, found, pkg, err := breakMarks(m.File, text, wanted)
		if err != nil {
			return "", nil, err
		}
		sites = append(sites, found...)
		if err := put(m.File, broken); err != nil {
			return "", nil, err
		}
		if h := path.Join(path.Dir(m.File), helperFile); !done[h] {
			done[h] = true
			if err := put(h, fmt.Appendf(nil, helper, pkg, environment)); err != nil {
				return "", nil, err
			}
		}
	}
	overlay = filepath.Join(folder, "overlay.json")
	text, err := json.Marshal(replace)
	if err != nil {
		return "", nil, err
	}
	return overlay, sites, os.WriteFile(overlay, text, 0o600)
}
