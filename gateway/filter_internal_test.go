package gateway

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// emojiSamples reads testdata/emoji.txt: sequences, and what they are of.
func emojiSamples(t testing.TB) map[string]string {
	t.Helper()
	f, err := os.Open("testdata/emoji.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	out := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		points, rest, ok := strings.Cut(lines.Text(), ";")
		if !ok || strings.HasPrefix(points, "#") {
			continue
		}
		var s strings.Builder
		for hex := range strings.FieldsSeq(points) {
			r, err := strconv.ParseUint(hex, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			s.WriteRune(rune(r))
		}
		out[s.String()] = strings.TrimSpace(rest)
	}
	return out
}

func TestEveryEmojiIsOne(t *testing.T) {
	samples := emojiSamples(t)
	if len(samples) < 300 {
		t.Fatalf("only %d samples", len(samples))
	}
	for s, what := range samples {
		for _, text := range []string{s, s + s, " " + s + "\n" + s + "\u200b"} {
			if !emojiOnly(text) {
				t.Errorf("%q is not taken for emoji: %s", text, what)
			}
		}
		if n := emojiAt(s + "x"); n != len(s) {
			t.Errorf("%q has %d bytes of emoji, want %d: %s", s+"x", n, len(s), what)
		}
		for _, text := range []string{s + "a", "1" + s, s + " ok", s + "."} {
			if emojiOnly(text) {
				t.Errorf("%q is taken for nothing but emoji: %s", text, what)
			}
		}
	}
}

func TestWhatIsNotAnEmoji(t *testing.T) {
	for _, text := range []string{
		"", " ", "\n", "1", "12", "#", "*", "#1", "1\ufe0f", "a", "é", "!", "!!", "…", ":)", "<3", "я", "你", "ok", "+", "€", "°", "½",
		"\u200d", "\ufe0f", "\U000e0067", "\xff", "1\u20e32", "☎ 112",
	} {
		if emojiOnly(text) {
			t.Errorf("%q is taken for nothing but emoji", text)
		}
	}
}

func TestGreetings(t *testing.T) {
	tests := map[string][]string{
		"English":    {"hi", "Hi!", "HELLO", "hello!!", "hiii", "heyyyy 👋", "Hi there :)", "good morning", "Good Morning, sir!", "thanks", "thank you so much 🙏🏽", "thx!!!", "ok", "OK 👍", "okayyy", "ok thanks, bye", "Hi, good evening everyone", "  hello \n\n", "ok great thanks", "k", "you're welcome", "you’re welcome <3", "hello :D", "hello xD"},
		"Spanish":    {"hola", "Holaaa", "buenos días", "Buenos dias!", "BUENOS DÍAS", "¡Hola! Buenas tardes", "muchas gracias", "vale", "ok gracias 😊", "hola buenas", "adiós"},
		"Portuguese": {"oi", "Olá", "ola", "bom dia", "Boa tarde!", "obrigada", "obrigado 🙏", "muito obrigado", "valeu", "tá bom", "ta bom", "oiii bom dia"},
		"French":     {"bonjour", "Bonjour !", "bonsoir madame", "salut", "coucou", "merci", "Merci beaucoup !!!", "d'accord", "D’accord merci", "très bien ok"[11:], "au revoir", "a bientot"},
		"German":     {"hallo", "Guten Tag", "moin moin", "grüß gott", "danke", "vielen Dank!", "Danke schön", "alles klar", "Tschüss", "hallo zusammen", "ok, danke 👍🏻"},
		"Italian":    {"ciao", "Buongiorno", "buona sera", "grazie mille", "va bene", "ciao a tutti", "ok grazie"},
		"Dutch":      {"hoi", "goedemorgen", "dank je wel", "bedankt!", "is goed", "tot ziens"},
		"Nordic":     {"hej", "Tack så mycket", "god dag", "tusen takk", "hei hei", "kiitos", "moi"},
		"Polish":     {"cześć", "czesc", "Dzień dobry", "dzien dobry!", "dzięki", "dziekuje bardzo"},
		"Czech":      {"ahoj", "dobrý den", "dobry den", "díky"},
		"Romanian":   {"bună ziua", "Buna ziua", "mulțumesc"},
		"Turkish":    {"merhaba", "Merhabalar", "selam", "GÜNAYDIN", "teşekkürler", "tesekkurler", "TEŞEKKÜR EDERİM", "tamam", "tamam teşekkürler", "iyi akşamlar"},
		"Russian":    {"привет", "Здравствуйте!", "Добрый день", "спасибо", "Спасибо большое", "ок", "доброе утро"},
		"Ukrainian":  {"привіт", "дякую", "Добрий день!"},
		"Greek":      {"γεια σας", "Καλημέρα", "ΚΑΛΗΜΕΡΑ", "ευχαριστώ πολύ"},
		"Arabic":     {"مرحبا", "السلام عليكم", "السَّلامُ عَلَيْكُم", "شكراً", "شكرا جزيلا", "صباح الخير", "أهلا", "تمام", "مرحبــــا"},
		"Hebrew":     {"שלום", "תודה רבה", "בוקר טוב", "שָׁלוֹם"},
		"Hindi":      {"नमस्ते", "धन्यवाद", "ठीक है", "namaste", "Namaste ji 🙏", "theek hai"},
		"Indonesian": {"halo", "selamat pagi", "terima kasih", "makasih kak", "Halo kak"},
		"Swahili":    {"habari", "Asante sana", "sawa", "jambo"},
		"Vietnamese": {"xin chào", "Xin chao", "cảm ơn", "cám ơn shop", "Cảm ơn nhiều"},
		"Thai":       {"สวัสดีค่ะ", "สวัสดีครับ ขอบคุณครับ"},
		"Filipino":   {"kamusta", "salamat po", "magandang umaga po"},
		"Chinese":    {"你好", "您好！", "谢谢", "你好，谢谢", "好的谢谢", "早上好👋", "謝謝您"},
		"Japanese":   {"こんにちは", "こんにちはー", "ありがとうございます", "了解です", "おはようございます！"},
		"Korean":     {"안녕하세요", "감사합니다", "네 감사합니다", "안녕하세요~"},
		"decomposed": {"buenos di\u0301as", "tes\u0327ekku\u0308rler"},
	}
	for language, texts := range tests {
		for _, text := range texts {
			if !greetingOnly(text) {
				t.Errorf("%s: %q is not taken for a greeting (%q)", language, text, greetingWords(text))
			}
		}
	}
}

func TestWhatIsMoreThanAGreeting(t *testing.T) {
	for _, text := range []string{
		"", " ", "👍", "!!", "...", ".", "there", "sir", "great", "perfect", "xx", "and", "!?", "hello?", "ok?", "Hi, how are you?", "¿qué tal?", "你好？",
		"hi Anna", "hello I need a room", "hi, is anyone there", "thanks but no", "no thanks", "yes", "no", "si", "oui", "ja", "да", "hai no", "stop",
		"hi 2", "ok 12:30", "good", "morning", "tomorrow morning", "hello world", "bonjour je voudrais un lit", "hola quiero reservar",
		"danke nein", "ok cancel it", "hi http://example.com", "cancel", "help", "thanks for nothing", "谢谢，我要退款", "你好 请问有房间", "こんにちは、予約したい", "안녕하세요 예약하고 싶어요",
		"ok €20", "high", "okra", "hit", "thank", strings.Repeat("hi ", 41), strings.Repeat("hello ", 60), "hi\xff", "h i", "hi [room]", "شكرا لا", "тест",
	} {
		if greetingOnly(text) {
			t.Errorf("%q is taken for nothing but a greeting", text)
		}
	}
}

func TestAPatternsFaultHasAColumn(t *testing.T) {
	tests := map[string]int{
		"(":                       1,
		"ab(c":                    3,
		"((a)":                    1,
		"(a)(b":                   4,
		`\((`:                     3,
		"(a[(]":                   1,
		"a)b":                     2,
		"(a))":                    4,
		"*a":                      1,
		"ab|*c":                   4,
		"a*(*b)":                  4,
		"a**":                     2,
		"a+b++":                   4,
		"x{1001}":                 2,
		"[z-a]":                   2,
		"^ok$|[a-":                6,
		"[[:nope:]]":              2,
		`a\`:                      2,
		`day\q`:                   4,
		`été\q`:                   4,
		"日本(":                     3,
		"(?P<n":                   1,
		"a(?<x y>b)":              2,
		"a(?=b)":                  2,
		`(a)\1`:                   4,
		`\pX`:                     1,
		"ab\xffcd":                3,
		strings.Repeat("(", 1100): 0, // too deep as a whole, or not closed
	}
	for pattern, want := range tests {
		_, err := regexp.Compile("(?i)" + pattern)
		if err == nil {
			t.Errorf("%q compiles", pattern)
			continue
		}
		if got := faultColumn(pattern); got != want && want != 0 {
			t.Errorf("%q is at fault from column %d, want %d (%v)", pattern, got, want, err)
		}
		if msg := patternFault(pattern, err); want > 0 && !strings.Contains(msg, fmt.Sprintf("column %d: ", want)) {
			t.Errorf("the fault of %q is told as %s", pattern, msg)
		}
	}
}

func TestPatternsAreCompiledOnce(t *testing.T) {
	var cache patternCache
	first := cache.of("acc_1", []string{"a", "(", "c"})
	if len(first) != 2 {
		t.Fatalf("%d patterns, want those that compile", len(first))
	}
	if again := cache.of("acc_1", []string{"a", "(", "c"}); &again[0] != &first[0] {
		t.Error("compiled again")
	}
	if other := cache.of("acc_2", []string{"a"}); &other[0] == &first[0] {
		t.Error("another account has the same")
	}
	if changed := cache.of("acc_1", []string{"b"}); len(changed) != 1 || !changed[0].MatchString("B") {
		t.Errorf("after a change the patterns are %v", changed)
	}
	if n := testing.AllocsPerRun(100, func() { cache.of("acc_1", []string{"b"}) }); n > 0 {
		t.Errorf("%v allocations for what is known", n)
	}
}

func FuzzTexts(f *testing.F) {
	for s := range emojiSamples(f) {
		f.Add(s)
	}
	f.Add("hello!! 👍")
	f.Add("a*(*b)[z-a]")
	f.Fuzz(func(t *testing.T, s string) {
		if emojiOnly(s) && greetingOnly(s) {
			t.Errorf("%q is both emoji and a greeting", s)
		}
		if n := emojiAt(s); n < 0 || n > len(s) {
			t.Errorf("%q has %d bytes of emoji", s, n)
		}
		if len(s) > maxPattern {
			return
		}
		column := faultColumn(s)
		if refused(s) == nil && column != 0 || column < 0 || column > utf8.RuneCountInString(s)+1 {
			t.Errorf("%q is at fault from column %d", s, column)
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	f := InboundFilter{IgnoreEmoji: true, IgnoreGreeting: true, IgnorePatterns: []string{`^stop$`, `^unsubscribe\b`, `https?://spam\.`, `\bcrypto\b.*\bprofit\b`}}
	m := &Inbound{Account: "acc_1", Type: TypeText, Text: "Hello, I would like to book a room for two people from Friday to Sunday."}
	b.Run("patterns cached", func(b *testing.B) {
		var cache patternCache
		for b.Loop() {
			if f.refuses(m, cache.of(m.Account, f.IgnorePatterns)) != "" {
				b.Fatal("refused")
			}
		}
	})
	b.Run("patterns compiled each time", func(b *testing.B) {
		for b.Loop() {
			var cache patternCache
			if f.refuses(m, cache.of(m.Account, f.IgnorePatterns)) != "" {
				b.Fatal("refused")
			}
		}
	})
}
