package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

func TestCandidates(t *testing.T) {
	agents := []gateway.Agent{
		{ID: "off", Account: "acc_1", AutoRun: true},
		{ID: "by hand", Account: "acc_1", Active: true},
		{ID: "b", Account: "acc_1", Active: true, AutoRun: true},
		{ID: "another's", Account: "acc_2", Active: true, AutoRun: true},
		{ID: "nobody's", Active: true, AutoRun: true},
		{ID: "a", Account: "acc_1", Active: true, AutoRun: true},
	}
	for account, want := range map[gateway.AccountID][]gateway.AgentID{"acc_1": {"b", "a"}, "acc_2": {"another's"}, "acc_3": nil, "": nil} {
		var got []gateway.AgentID
		for _, a := range Candidates(agents, account) {
			got = append(got, a.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("candidates of %q (-want +got):\n%s", account, diff)
		}
	}
}

// rules are written as "keywords=a|b languages=fr tags=vip hours=open".
func agentWith(id, rule string) *gateway.Agent {
	a := &gateway.Agent{ID: gateway.AgentID(id)}
	for part := range strings.SplitSeq(rule, "; ") {
		name, value, _ := strings.Cut(part, "=")
		list := strings.Split(value, "|")
		switch name {
		case "keywords":
			a.Route.Keywords = list
		case "languages":
			a.Route.Languages = list
		case "tags":
			a.Route.Tags = list
		case "hours":
			a.Route.Hours = value
		}
	}
	return a
}

func TestChoose(t *testing.T) {
	// Oldest first. Each test names those that there are.
	all := map[string]string{
		"front": "", "second": "",
		"bills": "keywords=invoice|my bill|reçu", "bills2": "keywords=invoice", "french": "languages=fr", "latin": "languages=es|pt|it",
		"vip": "tags=vip|gold", "night": "hours=closed", "day": "hours=open",
		"french bills": "keywords=facture; languages=fr", "vip night": "tags=vip; hours=closed", "vip day fr bills": "keywords=facture; languages=fr; tags=vip; hours=open",
		"pizza": "keywords=🍕", "booking": "keywords=予約|book a table|24/7",
	}
	tests := map[string]struct {
		agents string // separated by commas
		q      Question
		want   string // agent, reason
		among  string // for a router
	}{
		"the only agent answers":                                  {"front", Question{Text: "hi"}, "front default", "front"},
		"the oldest without a rule is the default":                {"bills,front,second", Question{Text: "hi"}, "front default", "bills,front,second"},
		"without one, the oldest is":                              {"bills,bills2", Question{Text: "hi"}, "bills default", "bills,bills2"},
		"even if its own rule forbids it":                         {"night,bills", Question{Text: "hi", Open: true}, "night default", "bills"},
		"a keyword":                                               {"front,bills", Question{Text: "Where is my invoice?"}, "bills keyword", ""},
		"in any case":                                             {"front,bills", Question{Text: "INVOICE!!"}, "bills keyword", ""},
		"only as a whole word":                                    {"front,bills", Question{Text: "We were invoiced twice"}, "front default", "front,bills"},
		"not as the end of one":                                   {"front,bills", Question{Text: "preinvoice"}, "front default", "front,bills"},
		"beside punctuation":                                      {"front,bills", Question{Text: "(invoice)-no.7"}, "bills keyword", ""},
		"a phrase":                                                {"front,bills", Question{Text: "I want my  bill, please"}, "bills keyword", ""},
		"a phrase over two lines":                                 {"front,bills", Question{Text: "this is my\nbill"}, "bills keyword", ""},
		"a phrase with something in between is none":              {"front,bills", Question{Text: "my last bill"}, "front default", "front,bills"},
		"a keyword with an accent is found without":               {"front,bills", Question{Text: "un recu svp"}, "bills keyword", ""},
		"and one typed in pieces":                                 {"front,bills", Question{Text: "le rec\u0327u"}, "bills keyword", ""},
		"of two with the keyword, the older":                      {"front,bills2,bills", Question{Text: "invoice"}, "bills2 keyword", ""},
		"a keyword in the second message":                         {"front,bills", Question{Text: "hello\nthe invoice is wrong"}, "bills keyword", ""},
		"an emoji is a keyword":                                   {"front,pizza", Question{Text: "one🍕please"}, "pizza keyword", ""},
		"a word of a script without blanks, anywhere":             {"front,booking", Question{Text: "明日予約したいです"}, "booking keyword", ""},
		"digits and signs":                                        {"front,booking", Question{Text: "open 24/7?"}, "booking keyword", ""},
		"digits are words":                                        {"front,booking", Question{Text: "124/71"}, "front default", "front,booking"},
		"a language":                                              {"front,french", Question{Text: "bonjour", Language: "fr"}, "french language", ""},
		"one of several":                                          {"front,latin", Question{Language: "pt"}, "latin language", ""},
		"another language":                                        {"front,french", Question{Language: "de"}, "front default", "front"},
		"an unknown language matches no rule":                     {"front,french", Question{Text: "204"}, "front default", "front,french"},
		"a tag":                                                   {"front,vip", Question{Tags: []string{"late", "gold"}}, "vip tag", ""},
		"another tag":                                             {"front,vip", Question{Tags: []string{"late"}}, "front default", "front"},
		"no tag":                                                  {"front,vip", Question{}, "front default", "front"},
		"open":                                                    {"front,night,day", Question{Open: true}, "day hours", ""},
		"closed":                                                  {"front,night,day", Question{}, "night hours", ""},
		"a rule with two parts":                                   {"front,french bills", Question{Text: "la facture", Language: "fr"}, "french bills keyword+language", ""},
		"and only one of them":                                    {"front,french bills", Question{Text: "la facture", Language: "en"}, "front default", "front"},
		"and one of them unknown":                                 {"front,french bills", Question{Text: "facture"}, "front default", "front,french bills"},
		"a rule with other two":                                   {"front,vip night", Question{Tags: []string{"vip"}}, "vip night tag+hours", ""},
		"which do not hold both":                                  {"front,vip night", Question{Tags: []string{"vip"}, Open: true}, "front default", "front"},
		"a rule with all parts":                                   {"front,vip day fr bills", Question{Text: "Facture ?", Language: "fr", Tags: []string{"vip"}, Open: true}, "vip day fr bills keyword+language+tag+hours", ""},
		"the first rule in order of age wins":                     {"night,french,front", Question{Language: "fr"}, "night hours", ""},
		"an older agent without a rule does not":                  {"front,second,french", Question{Language: "fr"}, "french language", ""},
		"the dialogue goes on":                                    {"front,bills", Question{Text: "yes, please", Last: "bills"}, "bills sticky", ""},
		"with the default agent, too":                             {"front,second", Question{Text: "yes", Last: "front"}, "front sticky", ""},
		"with one that a router chose":                            {"front,second", Question{Text: "yes", Last: "second"}, "second sticky", ""},
		"but another's keyword ends it":                           {"front,bills,french", Question{Text: "invoice", Last: "french"}, "bills keyword", ""},
		"its own keyword again is its rule":                       {"front,bills", Question{Text: "that invoice", Last: "bills"}, "bills keyword", ""},
		"the hour ends it":                                        {"front,day", Question{Text: "yes", Last: "day"}, "front default", "front"},
		"losing the tag ends it":                                  {"front,vip", Question{Text: "yes", Last: "vip"}, "front default", "front"},
		"another language ends it":                                {"front,french", Question{Language: "en", Last: "french"}, "front default", "front"},
		"an unknown language does not":                            {"front,french", Question{Text: "204", Last: "french"}, "french sticky", ""},
		"an agent that is gone does not go on":                    {"front,bills", Question{Last: "somebody else"}, "front default", "front,bills"},
		"a router may choose who has other keywords":              {"front,bills,booking", Question{Text: "the sum is wrong"}, "front default", "front,bills,booking"},
		"but not whom the hour, a tag or the language forbids":    {"front,night,vip,french,bills", Question{Text: "the sum is wrong", Language: "en", Open: true}, "front default", "front,bills"},
		"nothing was written":                                     {"front,bills", Question{}, "front default", "front,bills"},
		"a keyword beyond what is read is not found":              {"front,bills", Question{Text: strings.Repeat("é", maxText/2) + " invoice"}, "front default", "front,bills"},
		"invalid bytes at the cut do no harm":                     {"front,bills", Question{Text: "invoice " + strings.Repeat("日", maxText)}, "bills keyword", ""},
		"capitals that have no small letter of their own":         {"front,booking", Question{Text: "BOOK A TABLE"}, "booking keyword", ""},
		"full-width letters":                                      {"front,bills", Question{Text: "ｉｎｖｏｉｃｅ"}, "bills keyword", ""},
		"an empty rule's agent is not chosen before its turn":     {"second,front,bills", Question{Text: "invoice"}, "bills keyword", ""},
		"a language from the last run's answer is as good as any": {"front,french", Question{Text: "204", Language: "fr", Last: "french"}, "french language", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for id := range strings.SplitSeq(tt.agents, ",") {
				tt.q.Candidates = append(tt.q.Candidates, agentWith(id, all[id]))
			}
			got := Choose(&tt.q)
			if s := string(got.Agent.ID) + " " + got.Reason; s != tt.want {
				t.Errorf("chose %s, want %s", s, tt.want)
			}
			if !slices.Contains(Reasons(), got.Reason) {
				t.Errorf("%s is not among the reasons", got.Reason)
			}
			if got.Reason != Default {
				return
			}
			var among []string
			for _, a := range got.Among {
				among = append(among, string(a.ID))
			}
			if s := strings.Join(among, ","); s != tt.among {
				t.Errorf("a router may choose among %s, want %s", s, tt.among)
			}
		})
	}
}

func TestKeywords(t *testing.T) {
	tests := map[string]struct {
		keyword, text string
		want          bool
	}{
		"ß is ss":                                  {"Straße", "in der STRASSE", true},
		"Turkish capitals":                         {"iade", "İADE istiyorum", true},
		"the dotless i":                            {"sikayet", "ŞIKAYET var", true},
		"ø, ł and đ":                               {"oresund lodz", "Øresund Łódź", true},
		"Greek accents and the last sigma":         {"λογαριασμος", "Ο ΛΟΓΑΡΙΑΣΜΌΣ μου", true},
		"Russian ё":                                {"счёт", "счет за номер", true},
		"Arabic with vowels":                       {"فاتورة", "أريد فَاتُورَة", true},
		"Hebrew with points":                       {"שלום", "שָׁלוֹם", true},
		"Hindi keeps its vowel signs":              {"बिल", "बल", false},
		"and finds them":                           {"बिल", "मेरा बिल कहाँ है", true},
		"Korean with an ending":                    {"예약", "예약을 하고 싶어요", true},
		"but no other syllable":                    {"가", "각", false},
		"Thai, without blanks":                     {"ใบเสร็จ", "ขอใบเสร็จหน่อย", true},
		"an apostrophe parts words":                {"addition", "l'addition", true},
		"a keyword with blanks around it":          {"  bill  ", "the bill", true},
		"a word is not found in a part of another": {"art", "start", false},
		"an empty keyword":                         {" ", "anything", false},
		"a sign alone":                             {"€", "20€", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := normal(tt.text).contains(tt.keyword); got != tt.want {
				t.Errorf("%q in %q: %v, want %v", tt.keyword, tt.text, got, tt.want)
			}
		})
	}
}

func FuzzKeywords(f *testing.F) {
	f.Add("invoice", "my İnvoice\xff 予約")
	f.Fuzz(func(t *testing.T, keyword, text string) {
		if w := normal(text); w.contains(keyword) && !strings.Contains(strings.Join(strings.Fields(w.spaced), ""), strings.Join(strings.Fields(spaced(fold(keyword))), "")) {
			t.Errorf("%q is found in %q", keyword, text)
		}
	})
}
