package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"wagent/cmd/wagent/internal/config/document"
)

// maxValues bounds the values of a file once its aliases are expanded.
const maxValues = 100_000

// A Fault is one thing that is wrong with a configuration file.
type Fault struct {
	File string // empty if the source had no name
	Line int    // from 1; 0 if the file could not be read
	Key  string // such as agents[0].model; empty for the file as a whole
	Msg  string // what is wrong and what to do about it
}

// Error returns one sentence: file:line: key: message, or line N: key: message
// for a source without a name.
func (f *Fault) Error() string {
	var b strings.Builder
	switch {
	case f.File != "" && f.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", f.File, f.Line)
	case f.File != "":
		fmt.Fprintf(&b, "%s: ", f.File)
	case f.Line > 0:
		fmt.Fprintf(&b, "line %d: ", f.Line)
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	return b.String() + f.Msg
}

// Load reads the file at path over the defaults; without a path it returns
// [Embedded]. env is asked for each ${NAME} of the file, and for what known
// providers lack. An error joins every [Fault] of the file, in the order of its
// lines. Files that it names are found beside it.
func Load(path string, env func(string) (string, bool)) (Config, error) {
	c, faults := load(path, env)
	return c, joined(faults)
}

// Parse is Load of a source without a name; files that it names are found in
// the working directory. An empty source gives the defaults.
func Parse(src []byte, env func(string) (string, bool)) (Config, error) {
	p := parser{env: env}
	c := p.parse(src)
	return c, joined(p.faults)
}

// Check is the check command: it writes one line that sums the configuration
// up and returns 0, or writes one line per fault and returns 2.
func Check(w io.Writer, path string, env func(string) (string, bool)) int {
	c, faults := load(path, env)
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
	if len(faults) > 0 {
		return 2
	}
	fmt.Fprintf(w, "ok: %s, %s, %s\n", count(len(c.Accounts), "account"), count(len(c.Agents), "agent"), count(len(c.Webhooks), "webhook"))
	return 0
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

func load(path string, env func(string) (string, bool)) (Config, []*Fault) {
	if path == "" {
		c := Embedded()
		c.fill(env)
		return c, nil
	}
	p := parser{file: path, dir: filepath.Dir(path), env: env}
	src, err := document.ReadFile(path)
	if err != nil {
		p.fault(0, "", "%s", err.Error())
		return Config{}, p.faults
	}
	c := p.parse(src)
	return c, p.faults
}

func joined(faults []*Fault) error {
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// parse returns the zero Config if there is any fault.
func (p *parser) parse(src []byte) Config {
	c := Default()
	switch root, wrong := document.Root(src); {
	case wrong != nil:
		p.fault(wrong.Line, "", "%s", wrong.Msg)
	case root != nil:
		p.value(root, "", root.Line).root(&c)
	default:
		c.fill(p.env)
	}
	slices.SortStableFunc(p.faults, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	if len(p.faults) > 0 {
		return Config{}
	}
	return c
}
