package dispatch

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	tests := map[string]struct {
		text  string
		limit int
		want  []string
	}{
		"what fits is one part":                       {"hello there", 11, []string{"hello there"}},
		"a paragraph's end far before the limit not":  {"one\n\ntwo three\nfour five", 18, []string{"one\n\ntwo three", "four five"}},
		"a paragraph's end goes before a line's":      {"aaaa aaaa\n\nbb\ncc dd", 16, []string{"aaaa aaaa", "bb\ncc dd"}},
		"a line's end goes before a word's":           {"aaaa aaaa\nbb cc dd", 16, []string{"aaaa aaaa", "bb cc dd"}},
		"else a word's end":                           {"aaaa bbbb cccc dddd", 16, []string{"aaaa bbbb cccc", "dddd"}},
		"an end in the first half is too early":       {"a bbbbbbbbbbbbbbbbbb", 10, []string{"a bbbbbbbb", "bbbbbbbbbb"}},
		"a word that is too long is cut":              {strings.Repeat("x", 25), 10, []string{"xxxxxxxxxx", "xxxxxxxxxx", "xxxxx"}},
		"characters are counted, not bytes":           {strings.Repeat("ü", 10), 10, []string{strings.Repeat("ü", 10)}},
		"characters of several bytes are not cut":     {strings.Repeat("🛎", 5), 2, []string{"🛎🛎", "🛎🛎", "🛎"}},
		"white space between parts is dropped":        {"aaaa     \n\n   bbbb", 8, []string{"aaaa", "bbbb"}},
		"one character over the limit makes two":      {strings.Repeat("x", maxText+1), maxText, []string{strings.Repeat("x", maxText), "x"}},
		"the limit is what WhatsApp takes, not a bit": {strings.Repeat("x", 4096), maxText, []string{strings.Repeat("x", 4096)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, split(tt.text, tt.limit)); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("one\n\ntwo\nthree four", uint16(7))
	f.Add(strings.Repeat("schöne Grüße ", 20), uint16(31))
	f.Add("🛎🛎🛎\u00a0🛎\u2003🛎", uint16(2))
	f.Add("a\xffb\xf0\x9f c", uint16(1))
	f.Add(strings.Repeat(" ", 30)+"x", uint16(3))
	f.Fuzz(func(t *testing.T, text string, n uint16) {
		limit := int(n%5000) + 1
		text = strings.TrimSpace(text) // as reply does
		parts := split(text, limit)
		left := ""
		for i, p := range parts {
			left += bare(p)
			if utf8.RuneCountInString(p) > limit || len(parts) > 1 && p == "" || p != strings.TrimSpace(p) {
				t.Errorf("part %d of %q is %q, limit %d", i, text, p, limit)
			}
			if utf8.ValidString(text) && !utf8.ValidString(p) {
				t.Errorf("part %d of %q cuts a character: %q", i, text, p)
			}
		}
		if left != bare(text) {
			t.Errorf("%q became %q", text, parts)
		}
	})
}

// bare is a text without its white space, byte for byte.
func bare(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if !unicode.IsSpace(r) {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
