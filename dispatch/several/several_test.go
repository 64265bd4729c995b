package several

import (
	"errors"
	"sync/atomic"
	"testing"
)

func TestEach(t *testing.T) {
	odd := errors.New("odd")
	tests := map[string]struct {
		n        int
		fails    func(i int) bool
		least    int64 // calls
		most     int64
		err      error
		hopeless bool
	}{
		"nothing to do":      {0, nil, 0, 0, nil, false},
		"all goes well":      {1000, func(int) bool { return false }, 1000, 1000, nil, false},
		"every other fails":  {1000, func(i int) bool { return i%2 == 0 }, 1000, 1000, odd, false},
		"the last one fails": {17, func(i int) bool { return i == 16 }, 17, 17, odd, false},
		"all fail":           {1000, func(int) bool { return true }, Hopeless, Hopeless + wide, odd, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			xs := make([]int, tt.n)
			for i := range xs {
				xs[i] = i
			}
			var calls atomic.Int64
			seen := make([]atomic.Bool, tt.n)
			err := Each(xs, func(i *int) error {
				calls.Add(1)
				if seen[*i].Swap(true) {
					t.Errorf("%d is done twice", *i)
				}
				if tt.fails(*i) {
					return odd
				}
				return nil
			})
			if n := calls.Load(); n < tt.least || n > tt.most || !errors.Is(err, tt.err) || errors.Is(err, ErrHopeless) != tt.hopeless {
				t.Errorf("%d calls, %v", n, err)
			}
		})
	}
}
