package gateway

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func lines(n int) []string { return strings.Split(strings.Repeat("a,", n-1)+"a", ",") }

// numbered are n names of which none is another.
func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint("m", i)
	}
	return out
}

func blocks(n int) []Block {
	out := make([]Block, n)
	for i := range out {
		out[i].Label = fmt.Sprint("b", i)
	}
	return out
}

// Each rule has what is just allowed and what is just refused.
func TestValidateTellsEachSettingThatIsWrong(t *testing.T) {
	long := strings.Repeat("x", maxModel+1)
	tests := map[string]struct {
		change func(*Agent)
		field  string // empty: it is valid
		want   string
	}{
		"five fallbacks":                      {func(a *Agent) { a.Fallbacks = numbered(5) }, "", ""},
		"six fallbacks":                       {func(a *Agent) { a.Fallbacks = numbered(6) }, "models", "must name at most 6 models"},
		"a fallback without a name":           {func(a *Agent) { a.Fallbacks = []string{" "} }, "models", "must name models of 1 to 200 characters"},
		"a fallback of the longest name":      {func(a *Agent) { a.Fallbacks = []string{long[1:]} }, "", ""},
		"a fallback of a longer name":         {func(a *Agent) { a.Fallbacks = []string{long} }, "models", "must name models of 1 to 200 characters"},
		"a fallback to itself":                {func(a *Agent) { a.Fallbacks = []string{a.Model} }, "models", `names "gpt-4o-mini" twice`},
		"a fallback to itself, in full":       {func(a *Agent) { a.Fallbacks = []string{"openai/" + a.Model} }, "models", `names "openai/gpt-4o-mini" twice`},
		"the same fallback twice":             {func(a *Agent) { a.Fallbacks = []string{"a/b", "a/b"} }, "models", `names "a/b" twice`},
		"the same name at two providers":      {func(a *Agent) { a.Fallbacks = []string{"a/gpt-4o-mini", "b/gpt-4o-mini"} }, "", ""},
		"an effort that is none":              {func(a *Agent) { a.Settings.ReasoningEffort = "much" }, "model_settings", "reasoning_effort must be one of none, minimal, low, medium, high, xhigh, max"},
		"a thinking budget":                   {func(a *Agent) { a.Settings.ThinkingBudget = 128_000 }, "", ""},
		"a negative thinking budget":          {func(a *Agent) { a.Settings.ThinkingBudget = -1 }, "model_settings", "thinking_budget_tokens must be between 0 and 128000"},
		"too much of a thinking budget":       {func(a *Agent) { a.Settings.ThinkingBudget = 128_001 }, "model_settings", "thinking_budget_tokens must be between 0 and 128000"},
		"any seed":                            {func(a *Agent) { a.Settings.Seed = new(int64(-1)) }, "", ""},
		"the highest limits":                  {func(a *Agent) { a.Spend = SpendLimits{1_000_000, 1_000_000_000} }, "", ""},
		"a negative number of runs":           {func(a *Agent) { a.Spend.RunsPerHour = -1 }, "spend_limits", "runs_per_conversation_hour must be between 0 and 1000000"},
		"too many runs":                       {func(a *Agent) { a.Spend.RunsPerHour = 1_000_001 }, "spend_limits", "runs_per_conversation_hour must be between 0 and 1000000"},
		"a negative number of tokens":         {func(a *Agent) { a.Spend.TokensPerDay = -1 }, "spend_limits", "tokens_per_day must be between 0 and 1000000000"},
		"too many tokens":                     {func(a *Agent) { a.Spend.TokensPerDay = 1_000_000_001 }, "spend_limits", "tokens_per_day must be between 0 and 1000000000"},
		"no mode of compaction":               {func(a *Agent) { a.Compaction.Mode = "" }, "", ""},
		"compaction of all":                   {func(a *Agent) { a.Compaction = Compaction{CompactionAll, "a/b", 1000} }, "", ""},
		"a sliding compaction":                {func(a *Agent) { a.Compaction = Compaction{CompactionSliding, long[1:], 10_000_000} }, "", ""},
		"another mode of compaction":          {func(a *Agent) { a.Compaction.Mode = "some" }, "compaction", "mode must be off, sliding_window or all"},
		"a blank model of compaction":         {func(a *Agent) { a.Compaction.Model = " " }, "compaction", "model must be of 1 to 200 characters"},
		"a model of compaction that is long":  {func(a *Agent) { a.Compaction.Model = long }, "compaction", "model must be of 1 to 200 characters"},
		"a budget that fits nothing":          {func(a *Agent) { a.Compaction.MaxTokens = 999 }, "compaction", "max_tokens must be 0 or between 1000 and 10000000"},
		"a budget of no model":                {func(a *Agent) { a.Compaction.MaxTokens = 10_000_001 }, "compaction", "max_tokens must be 0 or between 1000 and 10000000"},
		"a negative budget":                   {func(a *Agent) { a.Compaction.MaxTokens = -1 }, "compaction", "max_tokens must be 0 or between 1000 and 10000000"},
		"ten blocks":                          {func(a *Agent) { a.Blocks = blocks(10) }, "", ""},
		"eleven blocks":                       {func(a *Agent) { a.Blocks = blocks(11) }, "memory_blocks", "must have at most 10 entries"},
		"a block without a label":             {func(a *Agent) { a.Blocks = []Block{{"", "x"}} }, "memory_blocks", `label "" must be in snake_case`},
		"a label with a space":                {func(a *Agent) { a.Blocks = []Block{{"House rules", "x"}} }, "memory_blocks", `label "House rules" must be in snake_case`},
		"two blocks of a label":               {func(a *Agent) { a.Blocks = []Block{{"a", "x"}, {"a", "y"}} }, "memory_blocks", `label "a" stands there twice`},
		"a block of the longest value":        {func(a *Agent) { a.Blocks = []Block{{"a", strings.Repeat("é", maxBlock)}} }, "", ""},
		"a block that is too long":            {func(a *Agent) { a.Blocks = []Block{{"a", strings.Repeat("é", maxBlock+1)}} }, "memory_blocks", `value of "a" must be at most 10000 characters`},
		"the most memory of a contact":        {func(a *Agent) { a.ContactMemory = 10_000 }, "", ""},
		"negative memory of a contact":        {func(a *Agent) { a.ContactMemory = -1 }, "contact_memory_limit", "must be between 0 and 10000"},
		"too much memory of a contact":        {func(a *Agent) { a.ContactMemory = 10_001 }, "contact_memory_limit", "must be between 0 and 10000"},
		"a rule of everything":                {func(a *Agent) { a.Route = RouteRule{lines(100), []string{"en"}, []string{"vip"}, HoursOpen} }, "", ""},
		"too many keywords":                   {func(a *Agent) { a.Route.Keywords = lines(101) }, "answers", "keywords must have at most 100 entries"},
		"too many languages":                  {func(a *Agent) { a.Route.Languages = slices.Repeat([]string{"en"}, 101) }, "answers", "languages must have at most 100 entries"},
		"too many tags of a rule":             {func(a *Agent) { a.Route.Tags = lines(101) }, "answers", "tags must have at most 100 entries"},
		"a blank keyword":                     {func(a *Agent) { a.Route.Keywords = []string{"\t"} }, "answers", `keywords: "\t" must be of 1 to 200 characters`},
		"a keyword that is too long":          {func(a *Agent) { a.Route.Keywords = []string{long} }, "answers", `keywords: "` + long[:40] + `" must be of 1 to 200 characters`},
		"a language by its name":              {func(a *Agent) { a.Route.Languages = []string{"english"} }, "answers", `languages: "english" must be a code of ISO 639-1, such as en`},
		"a language in capitals":              {func(a *Agent) { a.Route.Languages = []string{"EN"} }, "answers", `languages: "EN" must be a code of ISO 639-1, such as en`},
		"a tag that no contact can have":      {func(a *Agent) { a.Route.Tags = []string{"VIP"} }, "answers", `tags: "VIP" must be in snake_case, of at most 64 letters`},
		"hours that are neither":              {func(a *Agent) { a.Route.Hours = "09:00-12:00" }, "answers", "hours must be open or closed"},
		"a rule of closed hours":              {func(a *Agent) { a.Route.Hours = HoursClosed }, "", ""},
		"a filter of emoji and of greetings":  {func(a *Agent) { a.Filter = InboundFilter{IgnoreEmoji: true, IgnoreGreeting: true} }, "", ""},
		"a pattern that is no expression":     {func(a *Agent) { a.Filter.IgnorePatterns = []string{"("} }, "inbound_config", "ignore_patterns: \"(\" is not a regular expression: column 1: missing closing )"},
		"a limit of messages that is too big": {func(a *Agent) { a.Filter.MaxPerHour = 1_000_001 }, "inbound_config", "max_messages_per_hour must be between 0 and 1000000"},
	}
	for _, effort := range ReasoningEfforts() {
		tests["the effort "+effort] = struct {
			change func(*Agent)
			field  string
			want   string
		}{change: func(a *Agent) { a.Settings.ReasoningEffort = effort }}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := DefaultAgent()
			a.Name, a.SystemPrompt = "n", "p"
			tt.change(&a)
			err := a.Validate()
			if tt.field == "" {
				if err != nil {
					t.Errorf("Validate = %v, %v", err, detailsOf(err))
				}
				return
			}
			if want := map[string][]string{tt.field: {tt.want}}; KindOf(err) != Invalid || !reflect.DeepEqual(detailsOf(err), want) {
				t.Errorf("Validate = %v with %q, want %q", err, detailsOf(err), want)
			}
		})
	}
}

func detailsOf(err error) map[string][]string {
	e, ok := asError(err)
	if !ok {
		return nil
	}
	return e.Details
}

func TestValidateTellsAllThatIsWrongAtOnce(t *testing.T) {
	a := DefaultAgent()
	a.Name, a.SystemPrompt = "n", "p"
	a.Fallbacks, a.Spend.RunsPerHour, a.Compaction.Mode = []string{""}, -1, "some"
	a.ContactMemory, a.Route.Hours, a.Settings.ThinkingBudget = -1, "noon", -1
	if got := detailsOf(a.Validate()); len(got) != 6 {
		t.Errorf("%d fields are wrong: %q, want 6", len(got), got)
	}
}

func TestCheckTags(t *testing.T) {
	tests := map[string]struct {
		tags []string
		want []string
	}{
		"none":                 {nil, nil},
		"as many as there may": {numbered(50), nil},
		"one more":             {numbered(51), []string{"must have at most 50 entries"}},
		"the longest":          {[]string{strings.Repeat("a", 64)}, nil},
		"one that is longer":   {[]string{strings.Repeat("a", 65)}, []string{`"` + strings.Repeat("a", 65) + `" must be in snake_case, of at most 64 letters`}},
		"two bad ones":         {[]string{"VIP", "ok", ""}, []string{`"VIP" must be in snake_case, of at most 64 letters`, `"" must be in snake_case, of at most 64 letters`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := CheckTags(tt.tags)
			if got := detailsOf(err)["tags"]; !reflect.DeepEqual(got, tt.want) || (err != nil) != (tt.want != nil) {
				t.Errorf("CheckTags = %v with %q, want %q", err, got, tt.want)
			}
		})
	}
}

func TestTheZeroRuleNamesNothing(t *testing.T) {
	for name, r := range map[string]RouteRule{
		"keywords":  {Keywords: []string{"a"}},
		"languages": {Languages: []string{"en"}},
		"tags":      {Tags: []string{"vip"}},
		"hours":     {Hours: HoursOpen},
	} {
		if r.IsZero() {
			t.Errorf("a rule of %s is zero", name)
		}
	}
	if r := (RouteRule{Keywords: []string{}}); !r.IsZero() {
		t.Error("a rule of empty lists is not zero")
	}
}

func TestLocationOfAnAccount(t *testing.T) {
	for zone, want := range map[string]string{
		"": "UTC", "UTC": "UTC", "Europe/Paris": "Europe/Paris", "Local": "UTC", "Mars/Olympus": "UTC", "../../etc/passwd": "UTC",
	} {
		a := Account{TimeZone: zone}
		if got := a.Location().String(); got != want {
			t.Errorf("the location of %q is %s, want %s", zone, got, want)
		}
	}
}

func TestHoursOpen(t *testing.T) {
	const day = 24 * 60
	office := Hours{time.Monday: {{9 * 60, 12*60 + 30}, {14 * 60, 18 * 60}}}
	bar := Hours{time.Friday: {{18 * 60, 2 * 60}}, time.Saturday: {{20 * 60, 0}}}
	tests := map[string]struct {
		hours Hours
		at    string // of a week that begins on Monday 2026-06-01, in UTC
		want  bool
	}{
		"always, without hours":               {nil, "2026-06-07T03:00", true},
		"a minute before":                     {office, "2026-06-01T08:59", false},
		"the first minute":                    {office, "2026-06-01T09:00", true},
		"the last minute before noon":         {office, "2026-06-01T12:29", true},
		"the first of the break":              {office, "2026-06-01T12:30", false},
		"the last of the break":               {office, "2026-06-01T13:59", false},
		"the first of the afternoon":          {office, "2026-06-01T14:00", true},
		"the end":                             {office, "2026-06-01T18:00", false},
		"a day that is not named":             {office, "2026-06-02T10:00", false},
		"before a night":                      {bar, "2026-06-05T17:59", false},
		"its evening":                         {bar, "2026-06-05T18:00", true},
		"past midnight":                       {bar, "2026-06-06T01:59", true},
		"its end":                             {bar, "2026-06-06T02:00", false},
		"the night before it":                 {bar, "2026-06-05T01:00", false},
		"an evening that ends at midnight":    {bar, "2026-06-06T23:59", true},
		"the midnight that it ends at":        {bar, "2026-06-07T00:00", false},
		"from Sunday into Monday":             {Hours{time.Sunday: {{23 * 60, 60}}}, "2026-06-08T00:59", true},
		"from Saturday into Sunday":           {Hours{time.Saturday: {{23 * 60, 60}}}, "2026-06-07T00:59", true},
		"a whole day, its first minute":       {Hours{time.Monday: {{0, day}}}, "2026-06-01T00:00", true},
		"a whole day, its last minute":        {Hours{time.Monday: {{0, day}}}, "2026-06-01T23:59", true},
		"a whole day, the next":               {Hours{time.Monday: {{0, day}}}, "2026-06-02T00:00", false},
		"around the clock from nine":          {Hours{time.Monday: {{540, 540}}}, "2026-06-02T08:59", true},
		"around the clock from nine, its end": {Hours{time.Monday: {{540, 540}}}, "2026-06-02T09:00", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse("2006-01-02T15:04", tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.hours.Open(at); got != tt.want {
				t.Errorf("Open(%s) = %v, want %v", at.Format("Monday 15:04"), got, tt.want)
			}
		})
	}
}

// Clocks go by the wall: an hour that is left out has no minute to be open in,
// and one that comes twice is open twice. In New York they change on the 8th of
// March and the 1st of November 2026, both Sundays, at two.
func TestHoursOnTheDaysThatClocksChange(t *testing.T) {
	ny := (&Account{TimeZone: "America/New_York"}).Location()
	if ny == time.UTC {
		t.Fatal("this machine does not know New York")
	}
	night := Hours{time.Saturday: {{22 * 60, 6 * 60}}}
	early := Hours{time.Sunday: {{90, 150}}} // 01:30 to 02:30
	day := Hours{time.Sunday: {{9 * 60, 17 * 60}}}
	tests := map[string]struct {
		hours Hours
		at    string // RFC 3339 in UTC
		want  bool
	}{
		"in spring, the last minute that counts":      {early, "2026-03-08T06:59:59Z", true},  // 01:59:59 EST
		"in spring, the hour that is left out":        {early, "2026-03-08T07:00:00Z", false}, // 03:00 EDT
		"in spring, a night still ends at six":        {night, "2026-03-08T09:59:59Z", true},
		"in spring, and not an hour later":            {night, "2026-03-08T10:00:00Z", false},
		"in spring, nine is nine":                     {day, "2026-03-08T13:00:00Z", true},
		"in spring, before it":                        {day, "2026-03-08T12:59:59Z", false},
		"in autumn, half past one the first time":     {early, "2026-11-01T05:30:00Z", true}, // EDT
		"in autumn, half past one the second time":    {early, "2026-11-01T06:30:00Z", true}, // EST
		"in autumn, between them, by the wall one":    {early, "2026-11-01T06:00:00Z", false},
		"in autumn, a night lasts an hour longer":     {night, "2026-11-01T10:59:59Z", true},
		"in autumn, and ends at six":                  {night, "2026-11-01T11:00:00Z", false},
		"in autumn, five in the afternoon is the end": {day, "2026-11-01T22:00:00Z", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.hours.Open(at.In(ny)); got != tt.want {
				t.Errorf("Open(%s) = %v, want %v", at.In(ny).Format("Mon 15:04:05 MST"), got, tt.want)
			}
		})
	}
}

func TestParseSpans(t *testing.T) {
	for in, want := range map[string][]Span{
		"09:00-12:30":                {{540, 750}},
		"09:00-12:30, 14:00-18:00":   {{540, 750}, {840, 1080}},
		" 09:00-12:30 ,14:00-18:00 ": {{540, 750}, {840, 1080}},
		"00:00-24:00":                {{0, 1440}},
		"22:00-02:00":                {{1320, 120}},
		"":                           nil,
		",":                          nil,
		"09:00-12:30,":               nil,
		"9:00-12:30":                 nil,
		"09:00-12:60":                nil,
		"09:00-24:01":                nil,
		"24:00-09:00":                nil,
		"09:00–12:30":                nil, // a dash of typographers
		"09:00 - 12:30":              nil,
		"09:00-12:30 14:00-18:00":    nil,
		"09.00-12.30":                nil,
		"25:00-26:00":                nil,
		"09:00-12:30\x00":            nil,
	} {
		got, err := ParseSpans(in)
		if !reflect.DeepEqual(got, want) || (want == nil) != (KindOf(err) == Invalid && err != nil) {
			t.Errorf("ParseSpans(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
}

func FuzzParseSpans(f *testing.F) {
	for _, s := range []string{"09:00-12:30, 14:00-18:00", "00:00-24:00", "22:00-02:00", "24:00-24:00", ",,", "٠٩:00-12:30"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		spans, err := ParseSpans(s)
		if err != nil {
			if KindOf(err) != Invalid || spans != nil {
				t.Errorf("ParseSpans(%q) = %v, %v", s, spans, err)
			}
			return
		}
		texts := make([]string, len(spans))
		for i, p := range spans {
			if p.From < 0 || p.From >= 1440 || p.To < 0 || p.To > 1440 {
				t.Errorf("%q has the span %+v", s, p)
			}
			texts[i] = p.String()
		}
		again, err := ParseSpans(strings.Join(texts, ", "))
		if err != nil || !slices.Equal(again, spans) {
			t.Errorf("%q was read as %v, written as %q, and read as %v, %v", s, spans, texts, again, err)
		}
	})
}
