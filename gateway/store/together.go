package store

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A statement writes, and returns no rows.
type statement struct {
	query string
	args  []any
}

// together runs a statement in a transaction and, if that changes a row, others
// that do not depend on each other; it returns how many rows the first one
// changed. Where that is 0, or there is an error, the transaction must be rolled
// back: the others may have run.
//
// PostgreSQL gets them as one, so that there is one round trip and not one for
// each: those that stand in WITH see what was before all of them, and run to
// their end in any order (PostgreSQL's documentation, 7.8.2).
func (q queries) together(ctx context.Context, head statement, rest ...statement) (int64, error) {
	if q.with && len(rest) > 0 {
		text, args := beside(head, rest)
		return q.exec(ctx, text, args...)
	}
	n, err := q.exec(ctx, head.query, head.args...)
	for i := 0; i < len(rest) && n > 0 && err == nil; i++ {
		_, err = q.exec(ctx, rest[i].query, rest[i].args...)
	}
	return n, err
}

// oneWith is one with a statement that writes and returns a row, and together with
// those that do not depend on it.
func oneWith[T any](ctx context.Context, q queries, scan func(row) (T, error), head statement, rest ...statement) (T, error) {
	if q.with && len(rest) > 0 {
		text, args := beside(head, rest)
		return one(ctx, q, scan, text, args...)
	}
	out, err := one(ctx, q, scan, head.query, head.args...)
	for i := 0; i < len(rest) && err == nil; i++ {
		_, err = q.exec(ctx, rest[i].query, rest[i].args...)
	}
	return out, err
}

// listWith is list with a statement that writes and returns rows, and together with
// those that do not depend on it. Where it returns none, the others may have run,
// or not.
func listWith[T any](ctx context.Context, q queries, scan func(row) (T, error), head statement, rest ...statement) ([]T, error) {
	if q.with && len(rest) > 0 {
		text, args := beside(head, rest)
		return list(ctx, q, scan, text, args...)
	}
	out, err := list(ctx, q, scan, head.query, head.args...)
	for i := 0; i < len(rest) && len(out) > 0 && err == nil; i++ {
		_, err = q.exec(ctx, rest[i].query, rest[i].args...)
	}
	return out, err
}

// beside is a statement with others in WITH, as one.
func beside(head statement, rest []statement) (text string, args []any) {
	all, args := append([]statement{head}, rest...), slices.Clip(head.args)
	for i := range rest {
		args = append(args, rest[i].args...)
	}
	return joined(all), args
}

// joinedTexts are the texts of statements that were joined before: the few that
// the program has, by how many actions and parts a run has.
var joinedTexts sync.Map

var placeholder = regexp.MustCompile(`\$[0-9]+`)

// joined is the text of statements of which all but the first stand in WITH.
func joined(all []statement) string {
	var key strings.Builder
	for i := range all {
		key.WriteString(all[i].query)
		key.WriteByte(0)
	}
	if text, ok := joinedTexts.Load(key.String()); ok {
		return text.(string)
	}
	first := 0
	texts := make([]string, len(all))
	for i := range all {
		texts[i] = placeholder.ReplaceAllStringFunc(all[i].query, func(p string) string {
			n, _ := strconv.Atoi(p[1:]) // digits
			return "$" + strconv.Itoa(first+n)
		})
		first += len(all[i].args)
	}
	var b strings.Builder
	for i, text := range texts[1:] {
		separator := ", "
		if i == 0 {
			separator = "WITH "
		}
		fmt.Fprintf(&b, "%sbeside%d AS (%s)", separator, i, text)
	}
	b.WriteByte(' ')
	b.WriteString(texts[0])
	joinedTexts.Store(key.String(), b.String())
	return b.String()
}
