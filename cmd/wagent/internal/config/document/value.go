package document

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"wagent/cmd/wagent/internal/config/spelling"
)

// maxValues bounds the values of a file once its aliases are expanded.
const maxValues = 100_000

// A Walk goes through one document and gathers its faults. It is for one
// goroutine.
type Walk struct {
	File   string                                // what faults call the document; may be empty
	Dir    string                                // where files that the document names are looked for
	Env    func(name string) (string, bool)      // asked for each ${NAME}
	OnKeys func(path string, keys, set []string) // told of every mapping, the keys it may have and has; may be nil
	Faults []*Fault                              // in the order in which they were found

	bad    map[string]bool // the paths of faults, and what they stand in
	values int             // how many were looked at
}

// Fault adds a fault: of a line, 0 where there is none, and a key, which may be
// empty.
func (w *Walk) Fault(line int, key, format string, args ...any) {
	w.Faults = append(w.Faults, &Fault{File: w.File, Line: line, Key: key, Msg: fmt.Sprintf(format, args...)})
	if w.bad == nil {
		w.bad = map[string]bool{}
	}
	for key != "" {
		w.bad[key] = true
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
}

// A Value is a node of the document, with the key that a person would call it
// by and the line that they would look at. Its readers leave what they read
// into alone where they add a fault.
type Value struct {
	Walk *Walk
	Node *yaml.Node // never an alias; nil: the document has no such key
	Path string     // such as agents[0].model
	Line int
}

// Value returns the value at n, or at what n is an alias of.
func (w *Walk) Value(n *yaml.Node, path string, line int) Value {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	w.values++
	if w.values == maxValues {
		w.Fault(line, path, "the file has more than %d values once its aliases are expanded, write fewer", maxValues)
	}
	return Value{Walk: w, Node: n, Path: path, Line: line}
}

// Fault adds a fault of v.
func (v Value) Fault(format string, args ...any) { v.Walk.Fault(v.Line, v.Path, format, args...) }

// Faulty reports whether a fault is known of the key or of something in it.
func (v Value) Faulty(path string) bool { return v.Walk.bad[path] }

// readable reports whether v may be looked into.
func (v Value) readable() bool {
	tagged := v.Node.Style&yaml.TaggedStyle != 0
	if tagged {
		v.Fault("YAML tags such as !!binary are not understood, write the plain value")
	}
	return !tagged && v.Walk.values < maxValues
}

// IsList reports whether v is a list.
func (v Value) IsList() bool { return v.Node.Kind == yaml.SequenceNode }

// Null reports whether v has no value: its key then stands at its default.
func (v Value) Null() bool { return v.Node.Kind == yaml.ScalarNode && v.Node.ShortTag() == "!!null" }

// Fields are the keys that a mapping may have, each with its reader, which is
// not called for a key without a value.
type Fields map[string]func(Value)

// Mapping reads v and returns which keys it has, also those without a value.
func (v Value) Mapping(known Fields) map[string]Value {
	return v.Entries(func(key Value) {
		if name := key.Node.Value; name == "<<" {
			key.Fault("merge keys are not understood, write the keys out")
		} else {
			key.Fault("there is no such key%s", spelling.Suggest(name, slices.Collect(maps.Keys(known)), "keys"))
		}
	}, known)
}

// Entries reads the mapping v. Keys that are not known go to other.
func (v Value) Entries(other func(Value), known Fields) map[string]Value {
	set := map[string]Value{}
	if !v.readable() {
		return set
	}
	if v.Node.Kind != yaml.MappingNode {
		v.Fault("must be a mapping, with a key before each value")
		return set
	}
	for i := 0; i+1 < len(v.Node.Content) && v.Walk.values < maxValues; i += 2 {
		k, n := v.Node.Content[i], v.Node.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			v.Walk.Fault(k.Line, v.Path, "a key must be a plain word")
			continue
		}
		key := v.Walk.Value(n, Join(v.Path, k.Value), k.Line)
		if first, ok := set[k.Value]; ok {
			key.Fault("the key stands there twice, first in line %d, keep one", first.Line)
			continue
		}
		set[k.Value] = key
		if read, ok := known[k.Value]; !ok {
			other(Value{Walk: v.Walk, Node: k, Path: key.Path, Line: k.Line})
		} else if !key.Null() {
			read(key)
		}
	}
	if v.Walk.OnKeys != nil {
		v.Walk.OnKeys(v.Path, slices.Collect(maps.Keys(known)), slices.Collect(maps.Keys(set)))
	}
	return set
}

// plainKey is what a fault repeats of a key that the file made up.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.<-]{1,40}$`)

// Join returns the path of a key of what stands at path.
func Join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = fmt.Sprintf("%.40q", key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// List reads each element of the sequence v.
func (v Value) List(read func(Value)) {
	if !v.readable() {
		return
	}
	if !v.IsList() {
		v.Fault("must be a list, with a dash before each element")
		return
	}
	for i, n := range v.Node.Content {
		if v.Walk.values >= maxValues {
			return
		}
		read(v.Walk.Value(n, fmt.Sprintf("%s[%d]", v.Path, i), n.Line))
	}
}

// At returns the value of one of the keys of v that Mapping found; a key that
// is missing is looked for where v begins.
func (v Value) At(set map[string]Value, key string) Value {
	if at, ok := set[key]; ok {
		return at
	}
	return Value{Walk: v.Walk, Path: Join(v.Path, key), Line: v.Line}
}

// Require adds a fault for each key that is missing. when ends the sentence.
func (v Value) Require(set map[string]Value, when string, missing map[string]bool) {
	if v.Node.Kind != yaml.MappingNode {
		return // which is a fault already
	}
	for key, isMissing := range missing {
		if at := v.At(set, key); isMissing && !v.Faulty(at.Path) {
			at.Fault("is required%s", when)
		}
	}
}

// Places says in which line a name was first.
type Places map[string]int

// Once adds a fault if s has been there before. The empty s may be everywhere.
func (p Places) Once(at Value, s string) {
	if s == "" || at.Node == nil || at.Faulty(at.Path) {
		return
	}
	if line, ok := p[s]; ok {
		at.Fault("is the same as in line %d, use another", line)
		return
	}
	p[s] = at.Line
}
