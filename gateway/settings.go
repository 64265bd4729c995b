package gateway

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ModelSettings are what a model is asked with beside its temperature and the
// longest answer. Whatever is zero is left to the provider. A provider that
// has no such setting refuses it by its name.
type ModelSettings struct {
	Seed              *int64
	ReasoningEffort   string // one of ReasoningEfforts
	ThinkingBudget    int    // tokens of thought, within MaxTokens' answer or beside it, as the provider counts
	ParallelToolCalls *bool
}

// ReasoningEfforts are how hard a model can be asked to think, the least first.
func ReasoningEfforts() []string {
	return []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}
}

// SpendLimits bound what an agent may cost. What comes past one is not answered
// by a model. Zero limits nothing.
type SpendLimits struct {
	RunsPerHour  int // of one conversation, or of one conversation_key
	TokensPerDay int // of the agent: read and written, since midnight in its account's zone
}

// A CompactionMode says what becomes of the older turns of a conversation that
// does not fit into the prompt any more. The newest message always stays.
type CompactionMode string

// The modes.
const (
	CompactionOff     CompactionMode = "off"            // they are left out
	CompactionSliding CompactionMode = "sliding_window" // the older ones become a summary, the newer ones stay
	CompactionAll     CompactionMode = "all"            // all of them become a summary
)

// Compaction keeps the prompts of long conversations within a budget.
type Compaction struct {
	Mode      CompactionMode
	Model     string // the handle of the model that summarises; empty: the agent's own
	MaxTokens int    // of a whole prompt; 0: what the model is known to read, less its answer
}

// A Block is a part of what an agent always knows, by name.
type Block struct {
	Label string // snake_case; unique in its agent
	Value string
}

// A RouteRule says which messages an agent answers where its account has
// several agents. Of each list one entry has to match; empty lists match
// everything. The zero rule is that of the account's default agent: it matches
// what no other rule does.
type RouteRule struct {
	Keywords  []string // words or phrases, in any case
	Languages []string // ISO 639-1
	Tags      []string // of the contact
	Hours     string   // open or closed: the account's business hours; empty: always
}

// IsZero reports whether the rule names nothing.
func (r *RouteRule) IsZero() bool {
	return len(r.Keywords) == 0 && len(r.Languages) == 0 && len(r.Tags) == 0 && r.Hours == ""
}

// The values of RouteRule.Hours.
const (
	HoursOpen   = "open"
	HoursClosed = "closed"
)

const (
	maxFallbacks    = 5
	maxBlocks       = 10
	maxBlock        = 10_000 // characters
	maxContactBlock = 10_000
	maxRuleEntries  = 100
	maxKeyword      = 200 // bytes
)

func (a *Agent) validateModels(d details) {
	d.add("models", len(a.Fallbacks) > maxFallbacks, fmt.Sprintf("must name at most %d models", maxFallbacks+1))
	seen := []string{fullHandle(a.Model)}
	for _, m := range first(a.Fallbacks, maxFallbacks) {
		d.add("models", strings.TrimSpace(m) == "" || len(m) > maxModel || strings.ContainsFunc(m, unicode.IsControl), fmt.Sprintf("must name models of 1 to %d characters", maxModel))
		d.add("models", slices.Contains(seen, fullHandle(m)), fmt.Sprintf("names %.40q twice", m))
		seen = append(seen, fullHandle(m))
	}
	s := &a.Settings
	d.add("model_settings", s.ReasoningEffort != "" && !slices.Contains(ReasoningEfforts(), s.ReasoningEffort),
		"reasoning_effort must be one of "+strings.Join(ReasoningEfforts(), ", "))
	d.add("model_settings", s.ThinkingBudget < 0 || s.ThinkingBudget > 128_000, "thinking_budget_tokens must be between 0 and 128000")
}

// fullHandle writes a model's handle with its provider.
func fullHandle(model string) string {
	if strings.Contains(model, "/") {
		return model
	}
	return "openai/" + model
}

func (a *Agent) validateLimits(d details) {
	l := &a.Spend
	d.add("spend_limits", l.RunsPerHour < 0 || l.RunsPerHour > 1_000_000, "runs_per_conversation_hour must be between 0 and 1000000")
	d.add("spend_limits", l.TokensPerDay < 0 || l.TokensPerDay > 1_000_000_000, "tokens_per_day must be between 0 and 1000000000")
	c := &a.Compaction
	d.add("compaction", !slices.Contains([]CompactionMode{"", CompactionOff, CompactionSliding, CompactionAll}, c.Mode), "mode must be off, sliding_window or all")
	d.add("compaction", c.Model != "" && strings.TrimSpace(c.Model) == "" || len(c.Model) > maxModel, fmt.Sprintf("model must be of 1 to %d characters", maxModel))
	d.add("compaction", c.MaxTokens != 0 && (c.MaxTokens < 1000 || c.MaxTokens > 10_000_000), "max_tokens must be 0 or between 1000 and 10000000")
}

func (a *Agent) validateMemory(d details) {
	d.add("memory_blocks", len(a.Blocks) > maxBlocks, fmt.Sprintf("must have at most %d entries", maxBlocks))
	seen := map[string]bool{}
	for _, b := range first(a.Blocks, maxBlocks) {
		d.add("memory_blocks", !fieldName.MatchString(b.Label), fmt.Sprintf("label %.40q must be in snake_case", b.Label))
		d.add("memory_blocks", len(b.Label) > maxField, fmt.Sprintf("labels must be of at most %d characters each", maxField))
		d.add("memory_blocks", seen[b.Label], fmt.Sprintf("label %.40q stands there twice", b.Label))
		d.add("memory_blocks", utf8.RuneCountInString(b.Value) > maxBlock, fmt.Sprintf("value of %.40q must be at most %d characters", b.Label, maxBlock))
		seen[b.Label] = true
	}
	d.add("contact_memory_limit", a.ContactMemory < 0 || a.ContactMemory > maxContactBlock, fmt.Sprintf("must be between 0 and %d", maxContactBlock))
}

var ruleLanguage = regexp.MustCompile(`^[a-z]{2}$`)

func (r *RouteRule) validate(d details) {
	for _, list := range []struct {
		name    string
		entries []string
	}{{"keywords", r.Keywords}, {"languages", r.Languages}, {"tags", r.Tags}} {
		d.add("answers", len(list.entries) > maxRuleEntries, fmt.Sprintf("%s must have at most %d entries", list.name, maxRuleEntries))
	}
	for _, k := range first(r.Keywords, maxRuleEntries) {
		d.add("answers", strings.TrimSpace(k) == "" || len(k) > maxKeyword, fmt.Sprintf("keywords: %.40q must be of 1 to %d characters", k, maxKeyword))
	}
	for _, t := range first(r.Tags, maxRuleEntries) {
		d.add("answers", !isTag(t), fmt.Sprintf("tags: %.70q must be in snake_case, of at most %d letters", t, maxTag))
	}
	for _, l := range first(r.Languages, maxRuleEntries) {
		d.add("answers", !ruleLanguage.MatchString(l), fmt.Sprintf("languages: %.40q must be a code of ISO 639-1, such as en", l))
	}
	d.add("answers", r.Hours != "" && r.Hours != HoursOpen && r.Hours != HoursClosed, "hours must be open or closed")
}

const (
	maxTags = 50
	maxTag  = 64 // bytes
)

// CheckTags returns nil if a contact may be filed under all of the tags, or an
// Error of kind Invalid with what is wrong under "tags": at most 50, each in
// snake_case and of at most 64 letters.
func CheckTags(tags []string) error {
	d := details{}
	d.add("tags", len(tags) > maxTags, fmt.Sprintf("must have at most %d entries", maxTags))
	for _, t := range first(tags, maxTags) {
		d.add("tags", !isTag(t), fmt.Sprintf("%.70q must be in snake_case, of at most %d letters", t, maxTag))
	}
	return d.err()
}

func isTag(s string) bool { return len(s) <= maxTag && fieldName.MatchString(s) }

// Hours are when a business is open, by day of the week. The zero Hours are of
// one that is always open.
type Hours map[time.Weekday][]Span

// A Span is a part of a day, in minutes since midnight by the clock on the
// wall. One whose end is not after its begin lasts into the next day.
type Span struct{ From, To int }

// Open reports whether the business is open at t, by the clock of t's zone.
func (h Hours) Open(t time.Time) bool {
	if len(h) == 0 {
		return true
	}
	minute := t.Hour()*60 + t.Minute()
	for _, s := range h[t.Weekday()] {
		if minute >= s.From && (minute < s.To || s.To <= s.From) {
			return true
		}
	}
	for _, s := range h[(t.Weekday()+6)%7] { // what began yesterday
		if s.To <= s.From && minute < s.To {
			return true
		}
	}
	return false
}

// String tells the hours from Monday on, such as "Monday 09:00-12:30,
// 14:00-18:00; Tuesday closed; …".
func (h Hours) String() string {
	days := make([]string, 0, 7)
	for i := range 7 {
		day := time.Weekday((i + 1) % 7)
		spans := make([]string, 0, 2)
		for _, s := range h[day] {
			spans = append(spans, s.String())
		}
		if len(spans) == 0 {
			spans = append(spans, "closed")
		}
		days = append(days, day.String()+" "+strings.Join(spans, ", "))
	}
	return strings.Join(days, "; ")
}

var span = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]|24):([0-5][0-9])$`)

// ParseSpans reads the hours of one day, such as "09:00-12:30, 14:00-18:00".
// 24:00 is the day's end. The error is of kind Invalid.
func ParseSpans(s string) ([]Span, error) {
	var out []Span
	for part := range strings.SplitSeq(s, ",") {
		m := span.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil || m[3] == "24" && m[4] != "00" {
			return nil, &Error{Kind: Invalid, Msg: `must be such as "09:00-12:30, 14:00-18:00"`}
		}
		out = append(out, Span{From: minutes(m[1], m[2]), To: minutes(m[3], m[4])})
	}
	return out, nil
}

func minutes(hour, minute string) int {
	h, _ := strconv.Atoi(hour)
	m, _ := strconv.Atoi(minute)
	return h*60 + m
}

// String writes the span as ParseSpans reads it.
func (s Span) String() string {
	return fmt.Sprintf("%02d:%02d-%02d:%02d", s.From/60, s.From%60, s.To/60, s.To%60)
}
