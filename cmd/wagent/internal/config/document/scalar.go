package document

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var envRef = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// almostEnvRef matches what means to ask the environment and does not: taken
// as it stands, it would be a secret that everybody can read in a repository.
var almostEnvRef = regexp.MustCompile(`\$\{|^\$[A-Za-z_][A-Za-z0-9_]*$`)

// AsksEnv returns the name that v asks the environment for, or "".
func (v Value) AsksEnv() string {
	if m := envRef.FindStringSubmatch(v.Node.Value); m != nil {
		return m[1]
	}
	return ""
}

// NearlyAsksEnv reports whether v means to ask the environment and does not.
func (v Value) NearlyAsksEnv() bool {
	return v.AsksEnv() == "" && almostEnvRef.MatchString(v.Node.Value)
}

// Scalar returns v's text, from the environment if it asks for that. want
// completes the sentence "must be …".
func (v Value) Scalar(want string) (string, bool) {
	if !v.readable() {
		return "", false
	}
	if v.Node.Kind != yaml.ScalarNode || v.Null() {
		v.Fault("must be %s", want)
		return "", false
	}
	name := v.AsksEnv()
	if name == "" {
		return v.Node.Value, true
	}
	s, ok := v.Walk.Env(name)
	if !ok {
		v.Fault("%s is not set in the environment, set it or write the value here", name)
	}
	return s, ok
}

// Text reads a text, which may be empty.
func (v Value) Text(to *string) {
	if s, ok := v.Scalar("a text"); ok {
		*to = s
	}
}

// Boolean reads true or false.
func (v Value) Boolean(to *bool) {
	s, ok := v.Scalar("true or false")
	switch {
	case !ok:
	case s == "true", s == "false":
		*to = s == "true"
	default:
		v.Fault("must be true or false")
	}
}

// Whole reads a whole number of 64 bits.
func (v Value) Whole(to *int64) {
	const want = "a whole number such as 20"
	s, ok := v.Scalar(want)
	if !ok {
		return
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		v.Fault("must be %s", want)
		return
	}
	*to = n
}

// Integer reads a whole number; one that an int can not hold is cut to what it
// can.
func (v Value) Integer(to *int) {
	n := int64(*to)
	v.Whole(&n)
	*to = int(min(max(n, math.MinInt), math.MaxInt))
}

// IntegerIn reads a whole number between two others, which it may be.
func (v Value) IntegerIn(to *int, least, most int) {
	n := *to
	v.Integer(&n)
	if n < least || n > most {
		v.Fault("must be between %d and %d", least, most)
		return
	}
	*to = n
}

// Number reads a finite number.
func (v Value) Number(to *float64) {
	const want = "a number such as 0.3"
	s, ok := v.Scalar(want)
	if !ok {
		return
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		v.Fault("must be %s", want)
		return
	}
	*to = n
}

// Span reads a whole number of units. Numbers that no key allows are cut to
// ±1e6, so that they stay out of range when they are multiplied.
func (v Value) Span(to *time.Duration, unit time.Duration) {
	n := int(*to / unit)
	v.Integer(&n)
	*to = time.Duration(min(max(n, -1e6), 1e6)) * unit
}

// SpanIn reads a whole number of units between least and most, both included.
func (v Value) SpanIn(to *time.Duration, unit, least, most time.Duration) {
	n := int(*to / unit)
	v.IntegerIn(&n, int(least/unit), int(most/unit))
	*to = time.Duration(n) * unit
}

// DurationIn reads a duration between two others, which it may be.
func (v Value) DurationIn(to *time.Duration, least, most time.Duration) {
	const want = "a duration such as 30s"
	s, ok := v.Scalar(want)
	if !ok {
		return
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		v.Fault("must be %s", want)
	case d < least || d > most:
		v.Fault("must be between %s and %s", short(least), short(most))
	default:
		*to = d
	}
}

var (
	sizeText  = regexp.MustCompile(`^([0-9]{1,12}) ?(|B|KB|KiB|MB|MiB)$`)
	sizeUnits = map[string]int64{"": 1, "B": 1, "KB": 1e3, "KiB": 1 << 10, "MB": 1e6, "MiB": 1 << 20}
)

// SizeIn reads a number of bytes. The bounds are named as they are written.
func (v Value) SizeIn(to *int64, least, most string) {
	const want = "a size such as 16MiB"
	s, ok := v.Scalar(want)
	if !ok {
		return
	}
	n, ok := sizeOf(s)
	low, _ := sizeOf(least)
	high, _ := sizeOf(most)
	switch {
	case !ok:
		v.Fault("must be %s", want)
	case n < low || n > high:
		v.Fault("must be between %s and %s", least, most)
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

// OneOf reads one of some words.
func (v Value) OneOf(to *string, words ...string) {
	want := Choice(words)
	s, ok := v.Scalar(want)
	switch {
	case !ok:
	case slices.Contains(words, s):
		*to = s
	default:
		v.Fault("must be %s", want)
	}
}

// Choice names words as "a, b or c".
func Choice(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
