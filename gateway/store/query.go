package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// queries runs statements on a database or in a transaction. Arguments may be
// of any string type, times, durations and JSON: they are written as the
// schema keeps them.
type queries struct {
	db interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}
	*dialect
	patience time.Duration // of one statement; 0: as long as its context says
	webhooks *[]int64      // in a transaction: those that something is to be delivered to
}

// deliver takes note that something is to be delivered to a webhook once the
// transaction is over.
func (q queries) deliver(webhook int64) {
	if !slices.Contains(*q.webhooks, webhook) {
		*q.webhooks = append(*q.webhooks, webhook)
	}
}

// within returns the context of one statement.
func (q queries) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if q.patience == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, q.patience)
}

// exec returns how many rows it changed.
func (q queries) exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, cancel := q.within(ctx)
	defer cancel()
	res, err := q.db.ExecContext(ctx, query, plain(args)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// A row is read by scan functions.
type row interface{ Scan(dest ...any) error }

// one reads one row, or returns sql.ErrNoRows.
func one[T any](ctx context.Context, q queries, scan func(row) (T, error), query string, args ...any) (T, error) {
	ctx, cancel := q.within(ctx)
	defer cancel()
	return scan(q.db.QueryRowContext(ctx, query, plain(args)...))
}

// list reads all rows, and leaves the connection free.
func list[T any](ctx context.Context, q queries, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	ctx, cancel := q.within(ctx)
	defer cancel()
	rows, err := q.db.QueryContext(ctx, query, plain(args)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // what goes wrong shows in Err
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// inAll returns how many rows there are of which at most limit were read: query
// counts them where there may be more.
func inAll(ctx context.Context, q queries, read, limit int, query string, args ...any) (int, error) {
	if read < limit {
		return read, nil
	}
	n, err := one(ctx, q, scanInt, query, args...)
	return int(n), err
}

// exists reports whether the query finds a row.
func exists(ctx context.Context, q queries, query string, args ...any) (bool, error) {
	found, err := list(ctx, q, scanInt, query+` LIMIT 1`, args...)
	return len(found) > 0, err
}

// scanText reads a column of any string type.
func scanText[T ~string](r row) (T, error) {
	var s string
	err := r.Scan(&s)
	return T(s), err
}

// scanInt reads a number; NULL, as of MIN over nothing, is 0.
func scanInt(r row) (int64, error) {
	var n sql.NullInt64
	err := r.Scan(&n)
	return n.Int64, err
}

// scanTime reads a time; NULL, as of MIN over nothing, is the zero time.
func scanTime(r row) (time.Time, error) {
	var t time.Time
	err := r.Scan(at(&t))
	return t, err
}

// places returns n placeholders for an IN list, numbered from first.
func places(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(first+i))
	}
	return b.String()
}

// table returns rows as something to select from, a table s whose columns are column1
// and so on, of the types TEXT and BIGINT, and the arguments that it takes, numbered
// from first. Its text is the same whatever rows there are, so that it is parsed and
// planned but once where the database remembers that.
func (q queries) table(first int, rows [][]any, types ...string) (string, []any) {
	var b strings.Builder
	if !q.arrays {
		b.WriteString("(SELECT ")
		for i := range types {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "value ->> %d AS column%d", i, i+1)
		}
		fmt.Fprintf(&b, " FROM json_each($%d)) AS s", first)
		return b.String(), []any{jsonRows(rows)}
	}
	b.WriteString("unnest(")
	args := make([]any, len(types))
	var names []string
	for i, kind := range types {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d::%s[]", first+i, kind)
		names = append(names, fmt.Sprintf("column%d", i+1))
		if kind == "TEXT" {
			args[i] = column[string](rows, i)
		} else {
			args[i] = column[int64](rows, i)
		}
	}
	fmt.Fprintf(&b, ") AS s(%s)", strings.Join(names, ", "))
	return b.String(), args
}

// column is one column of rows, each of whose values is a T once it is plain.
func column[T string | int64](rows [][]any, i int) []T {
	out := make([]T, len(rows))
	for n, r := range rows {
		out[n] = resolved(r[i : i+1])[0].(T)
	}
	return out
}

// jsonRows are rows as an array of arrays.
func jsonRows(rows [][]any) string {
	all := make([][]any, len(rows))
	for i, r := range rows {
		all[i] = resolved(r)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return "[]" // texts and numbers always encode
	}
	return string(b)
}

// resolved are arguments as plain makes them, with what their own methods make of them.
func resolved(args []any) []any {
	out := plain(args)
	for i := range out {
		if v, ok := out[i].(driver.Valuer); ok {
			if x, err := v.Value(); err == nil {
				out[i] = x
			}
		}
	}
	return out
}

// renumbered is a part of a query with other placeholders: old and new ones in turn.
func renumbered(part string, placeholders ...string) string {
	return strings.NewReplacer(placeholders...).Replace(part)
}

// anys makes arguments of a slice.
func anys[T any](in []T) []any {
	out := make([]any, len(in))
	for i := range in {
		out[i] = in[i]
	}
	return out
}

// plain turns arguments into what both drivers write alike. It looks at kinds,
// not at methods: pgx would write what a Stringer prints.
func plain(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case driver.Valuer:
			out[i] = v
		case time.Time:
			out[i] = millis(v)
		case time.Duration:
			out[i] = v.Milliseconds()
		case json.RawMessage:
			out[i] = clean(string(v))
		default:
			rv := reflect.ValueOf(a)
			switch {
			case rv.Kind() == reflect.String:
				out[i] = clean(rv.String())
			case rv.CanInt():
				out[i] = rv.Int()
			default:
				out[i] = a
			}
		}
	}
	return out
}

// clean makes text of any source something that both databases take: the
// answers of webhooks and of models are strangers' bytes too.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// scanFunc is a place to scan into.
type scanFunc func(src any) error

// Scan satisfies sql.Scanner.
func (f scanFunc) Scan(src any) error { return f(src) }

// at scans a time.
func at(t *time.Time) scanFunc {
	return func(src any) error {
		switch v := src.(type) {
		case nil:
			*t = time.Time{}
		case int64:
			*t = fromMillis(v)
		default:
			return fmt.Errorf("a time is a number, not %T", src)
		}
		return nil
	}
}

// span scans a duration.
func span(d *time.Duration) scanFunc {
	return func(src any) error {
		v, ok := src.(int64)
		if !ok {
			return fmt.Errorf("a duration is a number, not %T", src)
		}
		*d = time.Duration(v) * time.Millisecond
		return nil
	}
}

// raw scans JSON as it is; the empty string is nil.
func raw(m *json.RawMessage) scanFunc {
	return func(src any) error {
		s, err := text(src)
		*m = nil
		if s != "" {
			*m = json.RawMessage(s)
		}
		return err
	}
}

// from scans JSON into a value, which the empty string leaves alone.
func from(v any) scanFunc {
	return func(src any) error {
		s, err := text(src)
		if err != nil || s == "" {
			return err
		}
		return json.Unmarshal([]byte(s), v)
	}
}

func text(src any) (string, error) {
	switch v := src.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	default:
		return "", fmt.Errorf("a text is a string, not %T", src)
	}
}

// asJSON is an argument to write as JSON.
type asJSON struct{ v any }

// Value satisfies driver.Valuer.
func (j asJSON) Value() (driver.Value, error) {
	b, err := json.Marshal(j.v)
	return string(b), err
}
