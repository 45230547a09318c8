package conf

import (
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// keyOf is the key of a field: words in small letters, joined by underscores.
// A field of a type that no file can hold has none.
func keyOf(f reflect.StructField) string {
	switch k := f.Type.Kind(); {
	case !f.IsExported(), k == reflect.Func, k == reflect.Pointer, k == reflect.Interface:
		return ""
	}
	switch f.Name { // two are called as the flags
	case "KeyLog":
		return "keylog"
	case "StateDir":
		return "state"
	}
	name := []rune(f.Name)
	var b strings.Builder
	for i, r := range name {
		begins := i > 0 && unicode.IsUpper(r) && (unicode.IsLower(name[i-1]) || i+1 < len(name) && unicode.IsLower(name[i+1]))
		if begins {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// keysOf are the keys of a struct, in the order of its fields.
func keysOf(t reflect.Type) []string {
	var keys []string
	for f := range fields(t) {
		keys = append(keys, keyOf(f))
	}
	return keys
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range fields(t) {
		if keyOf(f) == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// fields yields the fields that have a key.
func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); keyOf(f) != "" && !yield(f) {
				return
			}
		}
	}
}

// cureFor says what to do about a key that t does not have: the nearest one
// that it has, or where the key belongs.
func cureFor(t reflect.Type, key string) string {
	keys := keysOf(t)
	near := slices.MinFunc(keys, func(a, b string) int { return distance(key, a) - distance(key, b) })
	if distance(key, near) <= 1+len(key)/3 {
		return "did you mean " + near + "?"
	}
	return "the keys here are " + strings.Join(keys, ", ")
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
