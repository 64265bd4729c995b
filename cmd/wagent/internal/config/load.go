package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds what is read as configuration, in bytes; maxValues bounds the
// values in it once its aliases are expanded.
const (
	maxFile   = 1 << 20
	maxValues = 100_000
)

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
// [Embedded]. env is asked for each ${NAME} of the file and for nothing else.
// An error joins every [Fault] of the file, in the order of its lines. Files
// that it names are found beside it.
func Load(path string, env func(string) (string, bool)) (Config, error) {
	if path == "" {
		return Embedded(), nil
	}
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
	c := Embedded()
	if path != "" {
		var faults []*Fault
		if c, faults = load(path, env); len(faults) > 0 {
			for _, f := range faults {
				fmt.Fprintln(w, f)
			}
			return 2
		}
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
	p := parser{file: path, dir: filepath.Dir(path), env: env}
	src, err := readFile(path)
	if err != nil {
		p.fault(0, "", "%s", err.Error())
		return Config{}, p.faults
	}
	c := p.parse(src)
	return c, p.faults
}

// readFile reads a file of at most maxFile bytes. Its error is the rest of a
// sentence that begins with the file's name.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no such file, check the path")
	}
	if err != nil {
		return nil, unreadable(err)
	}
	defer func() { _ = f.Close() }()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unreadable(err)
	}
	return src, nil
}

func unreadable(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("the file can not be read (%w), check its owner and mode", err)
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
	if root := p.document(src); root != nil {
		p.value(root, "", root.Line).root(&c)
	}
	slices.SortStableFunc(p.faults, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	if len(p.faults) > 0 {
		return Config{}
	}
	return c
}

// document returns the root of the one YAML document of src, or nil if it is
// empty or not YAML.
func (p *parser) document(src []byte) *yaml.Node {
	if len(src) > maxFile {
		p.fault(1, "", "the file is larger than 1 MiB, which no configuration needs")
		return nil
	}
	if line := unprintable(src); line > 0 {
		p.fault(line, "", "the line holds bytes that are not UTF-8 text, save the file as UTF-8")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var first, second yaml.Node
	if err := dec.Decode(&first); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		p.syntax(src, err)
		return nil
	}
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.syntax(src, err)
		return nil
	default:
		p.fault(second.Line, "", "a second document begins here, keep one configuration per file")
		return nil
	}
	if len(first.Content) == 0 || first.Content[0].ShortTag() == "!!null" {
		return nil
	}
	return first.Content[0]
}

// unprintable returns the first line with a byte that YAML does not allow, or
// 0. The parser would refuse it too, but does not say where.
func unprintable(src []byte) int {
	line := 1
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError && n == 1, r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			return line
		}
		src = src[n:]
	}
	return 0
}
