package gateway

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"
)

// An InboundFilter keeps messages from starting runs. The zero filter lets
// every message through. Where an account has several agents, that of its
// default agent counts: who answers is decided only when a batch is due.
type InboundFilter struct {
	TextOnly       bool
	MinLength      int      // in characters, of texts
	MaxPerHour     int      // messages of one conversation; 0: no limit
	IgnorePatterns []string // regular expressions (RE2), case-insensitive
	// IgnoreEmoji ignores texts of nothing but emoji, IgnoreGreeting those of
	// nothing but a greeting, a thank-you, a goodbye or an ok, in the languages of
	// the table beside them. Neither ignores a text that quotes a message, which
	// may be an answer. An agent that asks "shall I?" wants neither.
	IgnoreEmoji    bool
	IgnoreGreeting bool
}

const (
	maxPatterns = 50
	maxPattern  = 1000 // characters
)

func (f *InboundFilter) validate(d details) {
	d.add("inbound_config", f.MinLength < 0 || f.MinLength > 4096, "min_message_length must be between 0 and 4096")
	d.add("inbound_config", f.MaxPerHour < 0 || f.MaxPerHour > 1_000_000, "max_messages_per_hour must be between 0 and 1000000")
	d.add("inbound_config", len(f.IgnorePatterns) > maxPatterns, fmt.Sprintf("ignore_patterns must have at most %d entries", maxPatterns))
	for _, p := range first(f.IgnorePatterns, maxPatterns) {
		d.add("inbound_config", p == "", "ignore_patterns must not be empty: such a pattern ignores every text")
		if utf8.RuneCountInString(p) > maxPattern {
			d.add("inbound_config", true, fmt.Sprintf("ignore_patterns must be at most %d characters each", maxPattern))
			continue
		}
		if _, err := regexp.Compile("(?i)" + p); err != nil {
			d.add("inbound_config", true, "ignore_patterns: "+patternFault(p, err))
		}
	}
}

// patternFault says what is wrong with a pattern and, where that is one part
// of it, from which column on, counted in characters from 1.
func patternFault(p string, err error) string {
	if column := faultColumn(p); column > 0 {
		e, _ := errors.AsType[*syntax.Error](err)
		return fmt.Sprintf("%q is not a regular expression: column %d: %s", p, column, e.Code)
	}
	return fmt.Sprintf("%q is not a regular expression: %v", p, err)
}

// faultColumn finds the part of a pattern for which the parser refuses it: it
// is what the shortest beginning that is refused for the same reason ends in.
// It returns 0 where the pattern as a whole is at fault, by its size.
func faultColumn(p string) int {
	e := refused(p)
	if e == nil {
		return 0
	}
	at := func(i int) int { return utf8.RuneCountInString(p[:i]) + 1 }
	switch e.Code {
	case syntax.ErrLarge, syntax.ErrNestingDepth, syntax.ErrInternalError:
		return 0
	case syntax.ErrMissingParen:
		return at(openParen(p))
	case syntax.ErrTrailingBackslash:
		return at(len(p) - 1)
	case syntax.ErrInvalidUTF8:
		return at(strings.IndexFunc(p, func(r rune) bool { return r == utf8.RuneError }))
	default:
	}
	// The parser reads from left to right: what goes beyond the fault is refused
	// as well.
	ends := make([]int, 0, len(p))
	for i := range p {
		_, size := utf8.DecodeRuneInString(p[i:])
		ends = append(ends, i+size)
	}
	n := sort.Search(len(ends), func(n int) bool {
		x := refused(p[:ends[n]])
		return x != nil && x.Code == e.Code && (x.Expr == e.Expr || e.Code == syntax.ErrUnexpectedParen)
	})
	switch {
	case n == len(ends):
		return 0
	case e.Code == syntax.ErrUnexpectedParen: // Expr is the whole pattern
		return n + 1
	default:
		return at(ends[n] - len(e.Expr))
	}
}

// openParen returns where the last parenthesis begins that is not closed.
func openParen(p string) int {
	for i := len(p) - 1; i > 0; i-- {
		if p[i] != '(' {
			continue
		}
		// Within a class or after a backslash it is only a character.
		if before := refused(p[:i]); before != nil && before.Code != syntax.ErrMissingParen {
			continue
		}
		if rest := refused(p[i:]); rest != nil && rest.Code == syntax.ErrMissingParen {
			return i
		}
	}
	return max(strings.IndexByte(p, '('), 0)
}

// refused returns why the parser refuses a pattern, or nil.
func refused(p string) *syntax.Error {
	_, err := syntax.Parse(p, syntax.Perl)
	e, _ := errors.AsType[*syntax.Error](err)
	return e
}

// refuses says why m may not start a run, or returns "" if it may. patterns are
// the filter's own.
func (f *InboundFilter) refuses(m *Inbound, patterns []*regexp.Regexp) string {
	switch m.Type {
	case TypeReaction, TypeSystem, TypeUnsupported:
		return ReasonType
	case TypeText:
	default:
		if f.TextOnly {
			return ReasonNotText
		}
		return ""
	}
	if utf8.RuneCountInString(strings.TrimSpace(m.Text)) < f.MinLength {
		return ReasonTooShort
	}
	if slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.MatchString(m.Text) }) {
		return ReasonPattern
	}
	switch alone := m.ReplyTo == "" && m.Attachment == nil; {
	case alone && f.IgnoreEmoji && emojiOnly(m.Text):
		return ReasonEmoji
	case alone && f.IgnoreGreeting && greetingOnly(m.Text):
		return ReasonGreeting
	default:
		return ""
	}
}

// patternCache keeps the patterns of each account's agent as they were
// compiled, since compiling takes longer than everything else that is asked of
// a message. The zero value is ready; it is safe for concurrent use.
type patternCache struct {
	mu sync.Mutex
	by map[AccountID]compiled
}

type compiled struct {
	source   []string
	patterns []*regexp.Regexp
}

// of returns what the patterns are compiled to. One that does not compile, as
// none does that was saved, matches nothing.
func (c *patternCache) of(account AccountID, source []string) []*regexp.Regexp {
	if len(source) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.by[account]; ok && slices.Equal(known.source, source) {
		return known.patterns
	}
	made := compiled{source: slices.Clone(source)}
	for _, p := range source {
		if re, err := regexp.Compile("(?i)" + p); err == nil {
			made.patterns = append(made.patterns, re)
		}
	}
	if c.by == nil {
		c.by = map[AccountID]compiled{}
	}
	c.by[account] = made
	return made.patterns
}
