package rest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
)

// List is what a list call answers: all there is, or its newest part.
type List[T any] struct {
	Items []T
	Total int // how many there are, listed or not; a server may stop counting, as wagent at 10,000 messages
}

var errNoData = errors.New(`the answer has no "data": is this an agents API?`)

// UnmarshalJSON reads the envelope.
func (l *List[T]) UnmarshalJSON(b []byte) error {
	var in struct {
		Data *[]T
		Meta struct{ Total int }
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.Data == nil {
		return errNoData
	}
	l.Items, l.Total = *in.Data, in.Meta.Total
	return nil
}

// One makes a call whose answer is one thing.
func One[T any](ctx context.Context, c *Client, call Call) (T, error) {
	var out envelope[T]
	err := c.Do(ctx, call, &out)
	return out.data, err
}

type envelope[T any] struct{ data T }

func (e *envelope[T]) UnmarshalJSON(b []byte) error {
	var in struct{ Data json.RawMessage }
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if len(in.Data) == 0 || string(in.Data) == "null" {
		return errNoData
	}
	return json.Unmarshal(in.Data, &e.data)
}

// Many makes a call whose answer is a list.
func Many[T any](ctx context.Context, c *Client, call Call) (List[T], error) {
	var out List[T]
	err := c.Do(ctx, call, &out)
	return out, err
}

// All ranges over what list returns, or yields its error once. It is called
// anew by each range.
func All[T any](list func() (List[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		l, err := list()
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, item := range l.Items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// Pages ranges over a list that is read page by page, newest first, each when
// the loop comes to it. list returns at most limit items that come before the one
// with an id, "" being the newest; id returns an item's. It ends with a page that
// is not full where Total says no more, and with an empty one. Of a server that
// passes over before it yields the newest page alone.
func Pages[T any](limit int, list func(before string) (List[T], error), id func(*T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		first, before, seen := "", "", 0
		for {
			l, err := list(before)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			again := func(item T) bool { return id(&item) == first }
			if len(l.Items) == 0 || before != "" && slices.ContainsFunc(l.Items, again) {
				return // the newest page again, perhaps below what came since
			}
			for _, item := range l.Items {
				if !yield(item, nil) {
					return
				}
			}
			// Total alone does not tell the end: a server may stop counting.
			if seen += len(l.Items); len(l.Items) < limit && seen >= l.Total {
				return
			}
			if first == "" {
				first = id(&l.Items[0])
			}
			before = id(&l.Items[len(l.Items)-1])
		}
	}
}
