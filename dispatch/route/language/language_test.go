package language

import (
	"os"
	"strings"
	"testing"
)

// testdata/sentences.txt holds what customers write first: to a hotel, and to
// other businesses. None of the others was looked at when the small words were
// written down.
func TestLanguage(t *testing.T) {
	lines, err := os.ReadFile("testdata/sentences.txt")
	if err != nil {
		t.Fatal(err)
	}
	right, all := map[string]int{}, map[string]int{}
	for line := range strings.Lines(string(lines)) {
		business, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		want, text, _ := strings.Cut(rest, " ")
		all[business]++
		switch got := Of(text); got {
		case want:
			right[business]++
		case "":
			t.Logf("unsure of %q (%s)", text, want)
		default:
			t.Errorf("%q is taken for %s, it is %s", text, got, want)
		}
	}
	for business, least := range map[string]int{"hotel": 90, "other": 65} {
		t.Logf("%s: the language of %d of %d sentences", business, right[business], all[business])
		if all[business] == 0 || 100*right[business] < least*all[business] {
			t.Errorf("%s: the language of %d of %d sentences, want %d %%", business, right[business], all[business], least)
		}
	}
}

func TestShortTextsHaveNoLanguage(t *testing.T) {
	for _, s := range []string{"", " ", "204", "ok", "👍", "hi", "no", "room 204", "taxi", "wifi?", "Anna", "https://example.com/a", "!!!", "\xff\xfe"} {
		if got := Of(s); got != "" {
			t.Errorf("%q is taken for %s", s, got)
		}
	}
}

func TestCode(t *testing.T) {
	for give, want := range map[string]string{"en": "en", "EN": "en", " pt-BR ": "pt", "zh_Hans": "zh", "": "", "english": "", "e1": "", "é": "", "fil": ""} {
		if got := Code(give); got != want {
			t.Errorf("Code(%q) = %q, want %q", give, got, want)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("Où est mon colis ?")
	f.Add("\xff\xfe 你")
	f.Fuzz(func(t *testing.T, text string) {
		if l := Of(text); l != "" && Code(l) != l {
			t.Errorf("%q is taken for %q", text, l)
		}
	})
}
