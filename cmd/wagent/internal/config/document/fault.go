package document

import (
	"fmt"
	"strings"
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
