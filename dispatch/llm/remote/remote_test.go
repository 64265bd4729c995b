package remote

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfterAsADate(t *testing.T) {
	h := http.Header{"Retry-After": {time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)}}
	if got := retryAfter(h); got < 50*time.Second || got > time.Minute {
		t.Errorf("%v, want about a minute", got)
	}
	for _, v := range []string{"NaN", "soon", "", "Inf", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)} {
		if got := retryAfter(http.Header{"Retry-After": {v}}); v != "Inf" && got != 0 || got > 24*time.Hour {
			t.Errorf("%q: %v", v, got)
		}
	}
}
