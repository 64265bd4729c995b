// Package document finds the one YAML document of a file, or says in which
// line the file is none, and reads its values: each reader knows how one kind
// of value is written, and says at which line and key it is not.
//
// Its errors are for people who edit the file, one sentence each, and never
// repeat a value that could be a secret. It keeps no state beside a [Walk].
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 1 << 20

// An Error is why a source is no YAML document.
type Error struct {
	Line int    // from 1
	Msg  string // what is wrong and what to do about it
}

// Error returns the line and the message.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

func fault(line int, format string, args ...any) *Error {
	return &Error{Line: line, Msg: fmt.Sprintf(format, args...)}
}

// ReadFile reads a file, and of one that is larger than MaxSize only so much
// that [Root] refuses it. Its error is the rest of a sentence that begins with
// the file's name.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no such file, check the path")
	}
	if err != nil {
		return nil, unreadable(err)
	}
	defer func() { _ = f.Close() }()
	src, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
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

// Root returns the root of the one YAML document of src, or nil if it is
// empty.
func Root(src []byte) (*yaml.Node, *Error) {
	if len(src) > MaxSize {
		return nil, fault(1, "the file is larger than 1 MiB, which no configuration needs")
	}
	if line := unprintable(src); line > 0 {
		return nil, fault(line, "the line holds bytes that are not UTF-8 text, save the file as UTF-8")
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var first, second yaml.Node
	if err := dec.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, syntax(src, err)
	}
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, syntax(src, err)
	default:
		return nil, fault(second.Line, "a second document begins here, keep one configuration per file")
	}
	if len(first.Content) == 0 || first.Content[0].ShortTag() == "!!null" {
		return nil, nil
	}
	return first.Content[0], nil
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

var (
	yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	// grammar matches the faults whose line the YAML parser counts from 0; it
	// counts those of its scanner from 1.
	grammar  = regexp.MustCompile(`^did not find expected (<|key|node content|',' or|'-' indicator)`)
	noAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// syntax makes an Error of what the YAML parser says, which leaves the line out
// where that is the first.
func syntax(src []byte, err error) *Error {
	line, msg := 1, err.Error()
	if m := yamlError.FindStringSubmatch(msg); m != nil {
		msg = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
			if grammar.MatchString(msg) {
				line++
			}
		}
	}
	lines := strings.Split(strings.TrimRight(string(src), "\n"), "\n")
	line = min(max(line, 1), len(lines))
	if m := noAnchor.FindStringSubmatch(msg); m != nil {
		// The name is not repeated: it may be a password that begins with *.
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "*"+m[1]) })
		return fault(max(i+1, 1), "a value begins with * and is no alias, put it in quotes")
	}
	switch text := lines[line-1]; {
	case strings.Contains(msg, "tab character"), strings.HasPrefix(strings.TrimLeft(text, " "), "\t"):
		return fault(line, "a tab stands in the indentation, use spaces")
	case strings.Contains(text, "${"):
		return fault(line, `the line is not YAML (%s), put "${NAME}" in quotes inside braces`, msg)
	default:
		return fault(line, "the file is not YAML from here on (%s), look at the indentation, colons and quotes", msg)
	}
}
