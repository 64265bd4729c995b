package route

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// words are a text in the form in which keywords are looked for.
type words struct {
	raw    string // in one case, without accents
	spaced string // its words, each between two blanks
}

// maxText is how much of a batch is looked at, in bytes: people do not bury
// what they want below a novel, and robots may not keep us busy.
const maxText = 16 << 10

func normal(s string) words {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	raw := fold(s)
	return words{raw: raw, spaced: spaced(raw)}
}

// contains reports whether a keyword or a phrase stands in the text as whole
// words. Scripts that put no blanks between words, or put endings to them, have
// no whole words: there it may stand anywhere. So may what has no letters, such
// as an emoji.
func (w words) contains(keyword string) bool {
	k := fold(strings.TrimSpace(keyword))
	switch s := spaced(k); {
	case strings.TrimSpace(s) == "":
		return k != "" && strings.Contains(w.raw, k)
	case strings.ContainsFunc(k, wordless):
		return strings.Contains(w.raw, k)
	default:
		return strings.Contains(w.spaced, s)
	}
}

func spaced(s string) string {
	fields := strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
	return " " + strings.Join(fields, " ") + " "
}

func wordless(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// bare writes letters that Unicode does not take apart as those that people
// type who do not have them.
var bare = strings.NewReplacer("ø", "o", "ł", "l", "đ", "d", "ı", "i", "æ", "ae", "œ", "oe", "\u200d", "", "\u200c", "", "\ufe0f", "", "\ufe0e", "")

// fold returns a text in one case and without accents, however it was typed.
// The vowel signs of India's scripts are no accents.
func fold(s string) string {
	s = norm.NFKD.String(s)
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 0x300 && r <= 0x36f, r >= 0x591 && r <= 0x5c7, r >= 0x64b && r <= 0x652, r == 0x640:
			return -1 // Latin, Greek and Cyrillic; Hebrew; Arabic, and its line that lengthens
		default:
			return r
		}
	}, s)
	return norm.NFC.String(bare.Replace(cases.Fold().String(s)))
}
