package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

// silent is a body that has so many parts, one each 50 seconds, and then
// nothing until its request ends.
type silent struct {
	ctx   context.Context //nolint:containedctx // as net/http's bodies do
	parts int
}

func (s *silent) Read(b []byte) (int, error) {
	if s.parts--; s.parts < 0 {
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	t := time.NewTimer(50 * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
		return copy(b, ": ping\n\n"), nil
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

func TestAStreamMayBeSilentForAMinute(t *testing.T) {
	tests := map[string]struct {
		deadline time.Duration // 0: none
		want     string
		took     time.Duration
	}{
		"and not longer":            {0, "acme stalled in the middle of its answer", 150*time.Second + time.Minute},
		"unless its caller is done": {2 * time.Minute, "acme did not answer in time", 2 * time.Minute},
		"though its caller waits":   {170 * time.Second, "acme did not answer in time", 170 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://llm.test", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				p, start := &Provider{Name: "acme"}, time.Now()
				resp, err := p.ReadStream(req, func(r *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(&silent{r.Context(), 3})}, nil
				})
				if err == nil {
					_ = resp.Body.Close()
				}
				e, ok := errors.AsType[*gateway.Error](p.Classify(ctx, err))
				if took := time.Since(start); !ok || e.Msg != tt.want || e.Kind != gateway.Unavailable || took != tt.took {
					t.Errorf("%v after %v, want %q after %v", err, took, tt.want, tt.took)
				}
			})
		})
	}
}

func TestAKeyThatLooksLikeACodeIsNotTold(t *testing.T) {
	p := &Provider{Name: "acme", Key: "abc123"}
	for _, body := range []string{`{"error":{"code":"bad_key_abc123"}}`, `{"error":{"code":"x","param":"abc123"}}`, `{"error":{"type":"abc123","code":7}}`, `{"message":"abc123"}`} {
		for _, a := range []*Refusal{NewRefusal(401, nil, []byte(body)), NewLateRefusal([]byte(body))} {
			if err := p.ClassifyRefusal(a); strings.Contains(err.Error(), "abc123") {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
}

func TestWhatALateErrorMeans(t *testing.T) {
	p := &Provider{Name: "acme"}
	for body, want := range map[string]gateway.Kind{
		`{"error":{"code":"server_error"}}`:             gateway.Unavailable,
		`{"error":{"code":502}}`:                        gateway.Unavailable,
		`{"error":{"code":429}}`:                        gateway.RateLimited,
		`{"type":"error","code":"rate_limit_exceeded"}`: gateway.RateLimited,
		`{"error":{"type":"insufficient_quota"}}`:       gateway.Unauthorized,
		`{"error":{"type":"permission_error"}}`:         gateway.Unauthorized,
		`{"error":{"type":"invalid_request_error"}}`:    gateway.Invalid,
		`{"error":{"code":"context_length_exceeded"}}`:  gateway.TooLong,
		`{"error":"x"}`:                                 gateway.Unavailable,
		`null`:                                          gateway.Unavailable,
	} {
		if err := p.ClassifyRefusal(NewLateRefusal([]byte(body))); gateway.KindOf(err) != want {
			t.Errorf("%s: %v (%v), want %v", body, gateway.KindOf(err), err, want)
		}
	}
}
