package rest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
)

// List is what a list call answers: all there is, or its newest part.
type List[T any] struct {
	Items []T
	Total int // how many there are, listed or not
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
