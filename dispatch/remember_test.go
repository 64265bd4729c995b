package dispatch

import (
	"testing"
	"time"

	"wagent/gateway"
)

// TestWhatIsPartOfALivingContext has messages so many minutes ago, of a context that
// lives for an hour.
func TestWhatIsPartOfALivingContext(t *testing.T) {
	tests := map[string]struct {
		ago    []int
		goesOn bool
		want   int // of the newest
	}{
		"nothing":                            {nil, true, 0},
		"what came within its life":          {[]int{59, 30, 1}, false, 3},
		"what is older":                      {[]int{60, 59}, false, 1},
		"a dialogue of hours that goes on":   {[]int{175, 140, 105, 70, 35}, true, 5},
		"one that was over":                  {[]int{175, 140, 105, 70, 35}, false, 1},
		"what was before a pause of an hour": {[]int{200, 190, 130, 71, 12}, true, 3},
		"all of it, after a pause":           {[]int{200, 190, 60}, true, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			var ms []gateway.Message
			for _, ago := range tt.ago {
				ms = append(ms, gateway.Message{ReceivedAt: now.Add(-time.Duration(ago) * time.Minute)})
			}
			if got := alive(ms, now, time.Hour, tt.goesOn); len(got) != tt.want {
				t.Errorf("%d are part of it, want %d", len(got), tt.want)
			}
		})
	}
}
