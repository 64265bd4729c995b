package scripted

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"
)

// A script is the file, as its author wrote it.
type script struct {
	Rules   []rule `yaml:"rules"`
	Default *rule  `yaml:"default"`
}

type rule struct {
	Match  pattern  `yaml:"match"`
	System pattern  `yaml:"system_match"`
	Output *output  `yaml:"output"`
	Delay  duration `yaml:"delay"`
	Error  failure  `yaml:"error"`
}

type output struct {
	Intent          string   `yaml:"intent"`
	Confidence      float64  `yaml:"confidence"`
	Actions         []action `yaml:"actions"`
	Language        string   `yaml:"language"`
	SuggestedReply  string   `yaml:"suggested_reply"`
	AnalysisSummary string   `yaml:"analysis_summary"`
	ContextSummary  string   `yaml:"context_summary"`
}

type action struct {
	Type    string         `yaml:"type"`
	Payload map[string]any `yaml:"payload"`
}

// A failure is a way to fail on purpose.
type failure string

const (
	failRateLimited failure = "rate_limited"
	failUnavailable failure = "unavailable"
	failGarbage     failure = "garbage"        // an answer that is no JSON
	failSchema      failure = "invalid_schema" // JSON that no agent's schema allows
)

// UnmarshalYAML reads one of the names above.
func (f *failure) UnmarshalYAML(n *yaml.Node) error {
	switch v := failure(n.Value); v {
	case failRateLimited, failUnavailable, failGarbage, failSchema:
		*f = v
		return nil
	}
	return fmt.Errorf("line %d: error must be rate_limited, unavailable, garbage or invalid_schema", n.Line)
}

// A pattern is a case-insensitive regular expression.
type pattern struct{ re *regexp.Regexp }

// UnmarshalYAML compiles the expression.
func (p *pattern) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		return fmt.Errorf("line %d: a pattern must be a regular expression", n.Line)
	}
	re, err := regexp.Compile("(?i)" + n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	p.re = re
	return nil
}

// A duration is a time.Duration as Go writes it.
type duration time.Duration

// UnmarshalYAML reads a duration such as 1.5s.
func (d *duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < 0 {
		return fmt.Errorf("line %d: delay must be a duration such as 2s", n.Line)
	}
	*d = duration(v)
	return nil
}

// parse reads a script and checks every rule of it.
func parse(src []byte) (*script, error) {
	var s script
	dec := yaml.NewDecoder(bytes.NewReader(src))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("read script: line 1: it is empty")
		}
		return nil, fmt.Errorf("read script: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("read script: it must be one YAML document")
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	if s.Default == nil {
		return nil, fmt.Errorf("read script: line %d: a default is missing", doc.Line)
	}
	lines := ruleLines(&doc)
	for i := range s.Rules {
		r := &s.Rules[i]
		line := doc.Line
		if i < len(lines) {
			line = lines[i]
		}
		if r.Match.re == nil && r.System.re == nil {
			return nil, fmt.Errorf("read script: line %d: a rule needs match or system_match", line)
		}
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("read script: line %d: %w", line, err)
		}
	}
	line := doc.Line
	if n := value(&doc, "default"); n != nil {
		line = n.Line
	}
	if s.Default.Match.re != nil || s.Default.System.re != nil {
		return nil, fmt.Errorf("read script: line %d: the default answers what nothing matched; it has no match", line)
	}
	if err := s.Default.check(); err != nil {
		return nil, fmt.Errorf("read script: line %d: default: %w", line, err)
	}
	return &s, nil
}

var actionType = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){2}$`)

func (r *rule) check() error {
	if (r.Output == nil) == (r.Error == "") {
		return errors.New("either output or error must be given")
	}
	if r.Output == nil {
		return nil
	}
	o := r.Output
	if o.Intent == "" {
		return errors.New("output.intent is missing")
	}
	if !(o.Confidence >= 0 && o.Confidence <= 1) {
		return errors.New("output.confidence must be between 0 and 1")
	}
	for i, a := range o.Actions {
		if !actionType.MatchString(a.Type) {
			return fmt.Errorf("output.actions[%d].type must be domain.resource.action in snake_case", i)
		}
		if _, err := json.Marshal(a.Payload); err != nil {
			return fmt.Errorf("output.actions[%d].payload is not JSON: %w", i, err)
		}
	}
	return nil
}

// ruleLines returns the line on which each rule starts.
func ruleLines(doc *yaml.Node) []int {
	rules := value(doc, "rules")
	if rules == nil {
		return nil
	}
	var lines []int
	for _, n := range rules.Content {
		lines = append(lines, n.Line)
	}
	return lines
}

// value returns what stands under a key of the document, or nil.
func value(doc *yaml.Node, key string) *yaml.Node {
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	pairs := doc.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i].Value == key {
			return pairs[i+1]
		}
	}
	return nil
}
