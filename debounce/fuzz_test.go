package debounce

import (
	"slices"
	"testing"
	"time"

	"wagent/debounce/redistest"
)

// FuzzAnyBytes sends strangers' bytes through a whole life: waiting, claimed,
// with another window behind it, done.
func FuzzAnyBytes(f *testing.F) {
	f.Add("key", "one", "two", "group")
	f.Add("", "", "=", "\x00")
	f.Add("{a}:due", "cut", "last", "\xff")
	f.Add("a\r\nb", "=gen", "gen", "}{")
	rdb := redistest.InMemory(f)
	d := newDebouncer(f, rdb, config())
	f.Fuzz(func(t *testing.T, key, one, two, group string) {
		want := []string{one}
		if two != one {
			want = append(want, two)
		}
		for range 2 {
			for _, item := range []string{one, two} {
				if err := d.Add(t.Context(), group, key, item, Window{Quiet: time.Hour}); err != nil {
					t.Fatal(err)
				}
			}
		}
		behind := one + two + "behind"
		for _, want := range [][]string{want, {behind}} {
			if err := d.Flush(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			got := claimAll(t, d)
			if len(got) != 1 || got[0].Key != key || !slices.Equal(got[0].Items, want) {
				t.Fatalf("claimed %+v, want %q of %q", got, want, key)
			}
			if want[0] != behind {
				add(t, d, key, Window{Quiet: time.Hour}, behind)
			}
			if h := d.done(t, &got[0]); h != held {
				t.Fatalf("done = %q, want held", h)
			}
		}
		onlyConstants(t, rdb)
	})
}
