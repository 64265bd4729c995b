package config

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"wagent/cmd/wagent/internal/config/spelling"
)

// A parser walks one document and gathers its faults.
type parser struct {
	file   string
	dir    string // where files that the document names are looked for
	env    func(string) (string, bool)
	faults []*Fault
	bad    map[string]bool                       // the paths of faults, and what they stand in
	values int                                   // how many were looked at
	onKeys func(path string, keys, set []string) // told of every mapping; nil outside tests
}

func (p *parser) fault(line int, key, format string, args ...any) {
	p.faults = append(p.faults, &Fault{File: p.file, Line: line, Key: key, Msg: fmt.Sprintf(format, args...)})
	if p.bad == nil {
		p.bad = map[string]bool{}
	}
	for key != "" {
		p.bad[key] = true
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
}

// faulty reports whether a fault is known of the key or of something in it.
func (p *parser) faulty(path string) bool { return p.bad[path] }

// A value is a node of the document, with the key that a person would call it
// by and the line that they would look at.
type value struct {
	p    *parser
	node *yaml.Node
	path string
	line int
}

// value returns the value at n, or at what n is an alias of.
func (p *parser) value(n *yaml.Node, path string, line int) value {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	p.values++
	if p.values == maxValues {
		p.fault(line, path, "the file has more than %d values once its aliases are expanded, write fewer", maxValues)
	}
	return value{p: p, node: n, path: path, line: line}
}

func (v value) fault(format string, args ...any) { v.p.fault(v.line, v.path, format, args...) }

// readable reports whether v may be looked into.
func (v value) readable() bool {
	tagged := v.node.Style&yaml.TaggedStyle != 0
	if tagged {
		v.fault("YAML tags such as !!binary are not understood, write the plain value")
	}
	return !tagged && v.p.values < maxValues
}

// isList reports whether v is a list.
func (v value) isList() bool { return v.node.Kind == yaml.SequenceNode }

// null reports whether v has no value: its key then stands at its default.
func (v value) null() bool { return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null" }

// fields are the keys that a mapping may have, each with its reader.
type fields map[string]func(value)

// mapping reads v and returns which keys it has, also those without a value.
func (v value) mapping(known fields) map[string]value {
	return v.entries(func(key value) {
		if name := key.node.Value; name == "<<" {
			key.fault("merge keys are not understood, write the keys out")
		} else {
			key.fault("there is no such key%s", spelling.Suggest(name, slices.Collect(maps.Keys(known)), "keys"))
		}
	}, known)
}

// entries reads the mapping v. Keys that are not known go to other.
func (v value) entries(other func(value), known fields) map[string]value {
	set := map[string]value{}
	if !v.readable() {
		return set
	}
	if v.node.Kind != yaml.MappingNode {
		v.fault("must be a mapping, with a key before each value")
		return set
	}
	for i := 0; i+1 < len(v.node.Content) && v.p.values < maxValues; i += 2 {
		k, n := v.node.Content[i], v.node.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			v.p.fault(k.Line, v.path, "a key must be a plain word")
			continue
		}
		key := v.p.value(n, join(v.path, k.Value), k.Line)
		if first, ok := set[k.Value]; ok {
			key.fault("the key stands there twice, first in line %d, keep one", first.line)
			continue
		}
		set[k.Value] = key
		if read, ok := known[k.Value]; !ok {
			other(value{p: v.p, node: k, path: key.path, line: k.Line})
		} else if !key.null() {
			read(key)
		}
	}
	if v.p.onKeys != nil {
		v.p.onKeys(v.path, slices.Collect(maps.Keys(known)), slices.Collect(maps.Keys(set)))
	}
	return set
}

// plainKey is what a fault repeats of a key that the file made up.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.<-]{1,40}$`)

func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = fmt.Sprintf("%.40q", key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// list reads each element of the sequence v.
func (v value) list(read func(value)) {
	if !v.readable() {
		return
	}
	if !v.isList() {
		v.fault("must be a list, with a dash before each element")
		return
	}
	for i, n := range v.node.Content {
		if v.p.values >= maxValues {
			return
		}
		read(v.p.value(n, fmt.Sprintf("%s[%d]", v.path, i), n.Line))
	}
}

var envRef = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// almostEnvRef matches what means to ask the environment and does not: taken
// as it stands, it would be a secret that everybody can read in a repository.
var almostEnvRef = regexp.MustCompile(`\$\{|^\$[A-Za-z_][A-Za-z0-9_]*$`)

// scalar returns v's text, from the environment if it asks for that. want
// completes the sentence "must be …".
func (v value) scalar(want string) (string, bool) {
	if !v.readable() {
		return "", false
	}
	if v.node.Kind != yaml.ScalarNode || v.null() {
		v.fault("must be %s", want)
		return "", false
	}
	m := envRef.FindStringSubmatch(v.node.Value)
	if m == nil {
		return v.node.Value, true
	}
	s, ok := v.p.env(m[1])
	if !ok {
		v.fault("%s is not set in the environment, set it or write the value here", m[1])
	}
	return s, ok
}

func (v value) text(to *string) {
	if s, ok := v.scalar("a text"); ok {
		*to = s
	}
}

func (v value) boolean(to *bool) {
	s, ok := v.scalar("true or false")
	switch {
	case !ok:
	case s == "true", s == "false":
		*to = s == "true"
	default:
		v.fault("must be true or false")
	}
}

// integer reads a whole number. Numbers that no key allows are cut to ±1e6, so
// that they stay out of range when they are multiplied by a unit.
func (v value) integer(to *int) {
	const want = "a whole number such as 20"
	s, ok := v.scalar(want)
	if !ok {
		return
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		v.fault("must be %s", want)
		return
	}
	*to = int(min(max(n, -1e6), 1e6))
}

func (v value) integerIn(to *int, least, most int) {
	n := *to
	v.integer(&n)
	if n < least || n > most {
		v.fault("must be between %d and %d", least, most)
		return
	}
	*to = n
}

func (v value) number(to *float64) {
	const want = "a number such as 0.3"
	s, ok := v.scalar(want)
	if !ok {
		return
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		v.fault("must be %s", want)
		return
	}
	*to = n
}

func (v value) durationIn(to *time.Duration, least, most time.Duration) {
	const want = "a duration such as 30s"
	s, ok := v.scalar(want)
	if !ok {
		return
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		v.fault("must be %s", want)
	case d < least || d > most:
		v.fault("must be between %s and %s", short(least), short(most))
	default:
		*to = d
	}
}

var (
	sizeText  = regexp.MustCompile(`^([0-9]{1,12}) ?(|B|KB|KiB|MB|MiB)$`)
	sizeUnits = map[string]int64{"": 1, "B": 1, "KB": 1e3, "KiB": 1 << 10, "MB": 1e6, "MiB": 1 << 20}
)

// sizeIn reads a number of bytes. The bounds are named as they are written.
func (v value) sizeIn(to *int64, least, most string) {
	const want = "a size such as 16MiB"
	s, ok := v.scalar(want)
	if !ok {
		return
	}
	n, ok := sizeOf(s)
	low, _ := sizeOf(least)
	high, _ := sizeOf(most)
	switch {
	case !ok:
		v.fault("must be %s", want)
	case n < low || n > high:
		v.fault("must be between %s and %s", least, most)
	default:
		*to = n
	}
}

// sizeOf returns how many bytes a size is.
func sizeOf(s string) (int64, bool) {
	m := sizeText.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n * sizeUnits[m[2]], err == nil
}

// short is d.String without units that are zero: 1h, not 1h0m0s.
func short(d time.Duration) string {
	return strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(d.String())
}

// oneOf reads one of some words.
func (v value) oneOf(to *string, words ...string) {
	want := choice(words)
	s, ok := v.scalar(want)
	switch {
	case !ok:
	case slices.Contains(words, s):
		*to = s
	default:
		v.fault("must be %s", want)
	}
}
