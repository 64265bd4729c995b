package post

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	if New(Config{}).http.Transport.(*http.Transport).Proxy != nil {
		t.Error("the client asks for a proxy")
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"5", "-1", "Fri, 31 Dec 1999 23:59:59 GMT", "99999999999999999999", "1e3", ""} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if d := retryAfter(value, now); d < 0 || d > MaxRetryAfter {
			t.Errorf("retryAfter(%q) = %v", value, d)
		}
	})
}

func FuzzStorable(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte(strings.Repeat("x", keptAnswer-1) + "\xc3"))
	f.Add([]byte("\x00\xff\xf0\x9f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > keptAnswer {
			b = b[:keptAnswer]
		}
		s := storable(b)
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			t.Errorf("storable(%q) = %q", b, s)
		}
		if utf8.Valid(b) && len(b) > 0 && len(s) < len(strings.ReplaceAll(string(b), "\x00", "")) {
			t.Errorf("storable(%q) lost a character: %q", b, s)
		}
	})
}
