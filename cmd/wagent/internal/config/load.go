package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	"wagent/cmd/wagent/internal/config/document"
)

// Load reads the file at path over the defaults; without a path it returns
// [Embedded]. env is asked for each ${NAME} of the file, and for what known
// providers lack. An error joins every [document.Fault] of the file, in the order of its
// lines. Files that it names are found beside it.
func Load(path string, env func(string) (string, bool)) (Config, error) {
	c, faults := load(path, env)
	return c, joined(faults)
}

// Parse is Load of a source without a name; files that it names are found in
// the working directory. An empty source gives the defaults.
func Parse(src []byte, env func(string) (string, bool)) (Config, error) {
	w := document.Walk{Env: env}
	c := parse(&w, src)
	return c, joined(w.Faults)
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

func load(path string, env func(string) (string, bool)) (Config, []*document.Fault) {
	if path == "" {
		c := Embedded()
		c.fill(env)
		return c, nil
	}
	w := document.Walk{File: path, Dir: filepath.Dir(path), Env: env}
	src, err := document.ReadFile(path)
	if err != nil {
		w.Fault(0, "", "%s", err.Error())
		return Config{}, w.Faults
	}
	c := parse(&w, src)
	return c, w.Faults
}

func joined(faults []*document.Fault) error {
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// parse returns the zero Config if there is any fault.
func parse(w *document.Walk, src []byte) Config {
	c := Default()
	switch root, wrong := document.Root(src); {
	case wrong != nil:
		w.Fault(wrong.Line, "", "%s", wrong.Msg)
	case root != nil:
		value{w.Value(root, "", root.Line)}.root(&c)
	default:
		c.fill(w.Env)
	}
	slices.SortStableFunc(w.Faults, func(a, b *document.Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	if len(w.Faults) > 0 {
		return Config{}
	}
	return c
}
