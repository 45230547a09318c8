package conf

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills Go values from YAML nodes and goes on after a fault, so that a
// person sees all of them at once.
type decoder struct {
	file     string
	problems Problems
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	addrType     = reflect.TypeFor[netip.Addr]()
	bytesType    = reflect.TypeFor[[]byte]()
)

// fault tells of n, which is the value of key, or a key itself.
func (d *decoder) fault(n ast.Node, key, what, cure string) {
	line, column := position(tokenOf(n))
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Column: column, Key: key, What: what, Cure: cure})
}

func (d *decoder) value(n ast.Node, v reflect.Value, key string) {
	switch {
	case v.Type() == durationType:
		d.duration(n, v, key)
	case v.Type() == addrType:
		d.addr(n, v, key)
	case v.Type() == bytesType:
		if text, ok := d.text(n, key); ok {
			v.SetBytes([]byte(text))
		}
	case v.Kind() == reflect.Struct:
		d.object(n, v, key)
	case v.Kind() == reflect.Slice:
		d.list(n, v, key)
	case v.Kind() == reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
		} else {
			d.fault(n, key, "is neither true nor false", "write one of the two")
		}
	case v.Kind() == reflect.String:
		if text, ok := d.text(n, key); ok {
			v.SetString(text)
		}
	default:
		d.number(n, v, key)
	}
}

func (d *decoder) object(n ast.Node, v reflect.Value, key string) {
	var entries []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		entries = m.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{m}
	default:
		d.fault(n, key, "holds no keys", "write keys with values here, the first is "+keysOf(v.Type())[0]+":")
		return
	}
	for _, e := range entries {
		name, ok := e.Key.(*ast.StringNode)
		if !ok {
			d.fault(e.Key, key, "anchors, merges and tags are not read", "write the keys out")
			continue
		}
		field, ok := fieldOf(v.Type(), name.Value)
		if !ok {
			d.fault(e.Key, join(key, name.Value), "unknown key", cureFor(v.Type(), name.Value))
			continue
		}
		d.value(e.Value, v.FieldByIndex(field.Index), join(key, name.Value))
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, key string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fault(n, key, "is not a list", fmt.Sprintf("write [%s]", strings.TrimSpace(oneLine(n))))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, e := range s.Values {
		d.value(e, v.Index(i), fmt.Sprintf("%s[%d]", key, i))
	}
}

// text is what was written: a number keeps its zeros and its 0x.
func (d *decoder) text(n ast.Node, key string) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		d.fault(n, key, "has no value", "give it one, or remove the key")
	default:
		if text, ok := splitAddress(n); ok {
			return text, true
		}
		d.fault(n, key, "is not a text", `write it between quotes`)
	}
	return "", false
}

// splitAddress is an IPv6 address or prefix that stood there without quotes and
// was taken for a key with its value: of fd00:: at the end of a line that is
// YAML's own reading, of {a: [fd00::/64]} the library's. A key that its value
// follows without a space is no key to a person.
func splitAddress(n ast.Node) (string, bool) {
	m, ok := n.(*ast.MappingNode)
	if !ok || len(m.Values) != 1 {
		return "", false
	}
	key, value := m.Values[0].Key.GetToken(), m.Values[0].Value
	text := key.Value + ":"
	switch value.(type) {
	case *ast.NullNode:
	case *ast.StringNode, *ast.IntegerNode:
		line, column := position(key)
		if l, c := position(value.GetToken()); l != line || c != column+len(text) {
			return "", false
		}
		text += value.GetToken().Value
	default:
		return "", false
	}
	_, aerr := netip.ParseAddr(text)
	_, perr := netip.ParsePrefix(text)
	return text, aerr == nil || perr == nil
}

func (d *decoder) duration(n ast.Node, v reflect.Value, key string) {
	text, ok := d.text(n, key)
	if !ok {
		return
	}
	if text == "never" && strings.HasSuffix(key, ".dpd") {
		v.SetInt(-1)
		return
	}
	span, err := time.ParseDuration(text)
	switch {
	case err != nil:
		cure := "write a number with its unit, as 30s, 15m or 8h"
		if _, e := strconv.Atoi(text); e == nil {
			cure = fmt.Sprintf("it has no unit: write %ss", text)
		}
		d.fault(n, key, fmt.Sprintf("%q is not a duration", text), cure)
	case span < 0:
		d.fault(n, key, fmt.Sprintf("%q is below zero", text), "write a duration above zero, or leave the key out")
	default:
		v.SetInt(int64(span))
	}
}

func (d *decoder) addr(n ast.Node, v reflect.Value, key string) {
	text, ok := d.text(n, key)
	if !ok {
		return
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		d.fault(n, key, fmt.Sprintf("%q is not an IP address", text), "write an address of this host, without a port")
		return
	}
	v.Set(reflect.ValueOf(a))
}

func (d *decoder) number(n ast.Node, v reflect.Value, key string) {
	largest := int64(1<<31 - 1)
	switch v.Kind() {
	case reflect.Uint16:
		largest = 1<<16 - 1
	case reflect.Uint64:
		largest = 1<<63 - 1
	}
	i, ok := n.(*ast.IntegerNode)
	var x int64
	if ok {
		var err error
		x, err = strconv.ParseInt(i.GetToken().Value, 10, 64)
		ok = err == nil && x >= 0 && x <= largest
	}
	switch {
	case !ok:
		d.fault(n, key, "is not a number from 0 to "+strconv.FormatInt(largest, 10), "write it in decimal digits")
	case v.CanUint():
		v.SetUint(uint64(x))
	default:
		v.SetInt(x)
	}
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// oneLine is a scalar as it stands in the file, or an ellipsis for the rest.
func oneLine(n ast.Node) string {
	if s, ok := n.(ast.ScalarNode); ok && s.Type() != ast.NullType && !strings.Contains(s.String(), "\n") {
		return s.String()
	}
	return "..."
}
