package conf

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"blackswan"
)

// TestPageNamesEveryKey: what a file can say, docs/configuration.md tells.
func TestPageNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var every func(reflect.Type)
	every = func(in reflect.Type) {
		for f := range fields(in) {
			if key := keyOf(f); !strings.Contains(string(text), "`"+key+"`") {
				t.Errorf("%s.%s: the page does not name %q", in.Name(), f.Name, key)
			}
			kind := f.Type
			if kind.Kind() == reflect.Slice {
				kind = kind.Elem()
			}
			if kind.Kind() == reflect.Struct && kind.PkgPath() == in.PkgPath() {
				every(kind)
			}
		}
	}
	every(reflect.TypeFor[blackswan.Config]())
}
