// Package language tells in which language a customer writes. Its functions
// are pure.
package language

import (
	_ "embed" // the small words
	"slices"
	"strings"
	"unicode"

	"github.com/abadojack/whatlanggo"
)

// maxText is how much of a text is looked at, in bytes.
const maxText = 4 << 10

// languages are those that are told apart. The detector knows twice as many;
// the others it mostly finds in short texts of these. Bulgarian it finds in
// Russian ones as well: only small words tell it.
var languages = map[whatlanggo.Lang]string{
	whatlanggo.Arb: "ar", whatlanggo.Ben: "bn", whatlanggo.Bul: "", whatlanggo.Ces: "cs", whatlanggo.Cmn: "zh", whatlanggo.Dan: "da",
	whatlanggo.Deu: "de", whatlanggo.Ell: "el", whatlanggo.Eng: "en", whatlanggo.Fin: "fi", whatlanggo.Fra: "fr", whatlanggo.Guj: "gu",
	whatlanggo.Heb: "he", whatlanggo.Hin: "hi", whatlanggo.Hrv: "hr", whatlanggo.Hun: "hu", whatlanggo.Ind: "id", whatlanggo.Ita: "it",
	whatlanggo.Jpn: "ja", whatlanggo.Kan: "kn", whatlanggo.Kat: "ka", whatlanggo.Khm: "km", whatlanggo.Kor: "ko", whatlanggo.Mal: "ml",
	whatlanggo.Mar: "mr", whatlanggo.Mya: "my", whatlanggo.Nld: "nl", whatlanggo.Nob: "no", whatlanggo.Pan: "pa", whatlanggo.Pes: "fa",
	whatlanggo.Pol: "pl", whatlanggo.Por: "pt", whatlanggo.Ron: "ro", whatlanggo.Rus: "ru", whatlanggo.Sin: "si", whatlanggo.Spa: "es",
	whatlanggo.Swe: "sv", whatlanggo.Tam: "ta", whatlanggo.Tel: "te", whatlanggo.Tgl: "tl", whatlanggo.Tha: "th", whatlanggo.Tur: "tr",
	whatlanggo.Ukr: "uk", whatlanggo.Urd: "ur", whatlanggo.Vie: "vi",
}

var whitelist = func() map[whatlanggo.Lang]bool {
	out := map[whatlanggo.Lang]bool{}
	for l := range languages {
		out[l] = true
	}
	return out
}()

// Of returns the language of a text (ISO 639-1), or "" where it is too
// short, or too mixed, to be sure.
//
// The detector counts groups of three letters, which tell little in a sentence
// of five words, as customers begin with. Small words tell more: where they
// speak for one language alone, it is that one.
func Of(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	if l := bySmallWords(text); l != "" {
		return l
	}
	info := whatlanggo.DetectWithOptions(text, whatlanggo.Options{Whitelist: whitelist})
	if info.Confidence < whatlanggo.ReliableConfidenceThreshold {
		return ""
	}
	return languages[info.Lang]
}

// bySmallWords returns the language of which at least two small words, or
// letters of its own, stand in a text, and two more than of any other; else "".
func bySmallWords(text string) string {
	votes := map[string]int{}
	seen := map[string]bool{}
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }) {
		if seen[word] {
			continue
		}
		seen[word] = true
		for _, l := range smallWords[word] {
			votes[l]++
		}
		for _, letter := range word {
			if l := ownLetters[letter]; l != "" && !seen[string(letter)] {
				seen[string(letter)] = true
				votes[l]++
			}
		}
	}
	best, first, second := "", 0, 0
	for l, n := range votes {
		if n > first {
			best, first, second = l, n, first
		} else {
			second = max(second, n)
		}
	}
	if first >= 2 && first >= second+2 {
		return best
	}
	return ""
}

// ownLetters are letters that one language has, of those that are told apart.
var ownLetters = map[rune]string{
	'ã': "pt", 'õ': "pt", 'ñ': "es", 'ß': "de", 'œ': "fr", 'ğ': "tr", 'ı': "tr", 'ł': "pl", 'ż': "pl", 'ś': "pl", 'ń': "pl", 'ą': "pl", 'ę': "pl",
	'ы': "ru", 'э': "ru", 'ё': "ru", 'і': "uk", 'ї': "uk", 'є': "uk", 'ґ': "uk", 'ř': "cs", 'ů': "cs", 'ě': "cs", 'ő': "hu", 'ű': "hu", 'ț': "ro",
	'ٹ': "ur", 'ڈ': "ur", 'ے': "ur", 'ة': "ar", 'إ': "ar",
}

//go:embed smallwords.txt
var smallWordLists string

// smallWords are the languages of each word in smallwords.txt, which has a
// language a line.
var smallWords = func() map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(smallWordLists) {
		words := strings.Fields(line)
		for _, word := range words[1:] {
			if l := words[0]; !slices.Contains(out[word], l) {
				out[word] = append(out[word], l)
			}
		}
	}
	return out
}()

// Code returns what a model calls a language as a code of ISO 639-1: en for
// en-GB. It returns "" for what is no code.
func Code(language string) string {
	code, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(language)), "-")
	code, _, _ = strings.Cut(code, "_")
	if len(code) != 2 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz") != "" {
		return ""
	}
	return code
}
