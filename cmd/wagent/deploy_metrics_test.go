package main

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/cmd/wagent/internal/config"
)

// A metric is what the registry knows of a name.
type metric struct {
	labels    map[string]map[string]bool // by name: the values that it has had
	histogram bool
}

// knownMetrics returns the metrics of the whole program.
func knownMetrics(t *testing.T) map[string]metric {
	t.Helper()
	cfg := config.Embedded()
	cfg.DataDir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	a, err := build(t.Context(), cfg, host{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	known := map[string]metric{}
	described := make(chan *prometheus.Desc)
	go func() { a.registry.Describe(described); close(described) }()
	for d := range described { // those without a series, too
		m := metric{labels: map[string]map[string]bool{}}
		parts := descText.FindStringSubmatch(d.String())
		if parts == nil {
			t.Fatalf("unknown form of %s", d)
		}
		for _, l := range labelName.FindAllString(constValue.ReplaceAllString(parts[2]+","+parts[3], ""), -1) {
			m.labels[l] = map[string]bool{}
		}
		known[parts[1]] = m
	}
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := known[f.GetName()]
		if m.labels == nil {
			m.labels = map[string]map[string]bool{} // of a collector that describes less than it has
		}
		m.histogram = f.GetType().String() == "HISTOGRAM"
		for _, x := range f.GetMetric() {
			for _, l := range x.GetLabel() {
				if m.labels[l.GetName()] == nil {
					m.labels[l.GetName()] = map[string]bool{}
				}
				m.labels[l.GetName()][l.GetValue()] = true
			}
		}
		known[f.GetName()] = m
	}
	return known
}

var (
	descText   = regexp.MustCompile(`fqName: "([^"]+)".*constLabels: \{(.*)\}, variableLabels: \{(.*)\}`)
	constValue = regexp.MustCompile(`"[^"]*"`)
	labelName  = regexp.MustCompile(`[a-zA-Z_]\w*`)

	selector = regexp.MustCompile(`([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	aside    = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|"[^"]*"|\boffset\s+\w+|\b\d[\w.]*`)
	word     = regexp.MustCompile(`[a-zA-Z_:][\w:]*`)

	// What an expression of ours is made of besides metrics.
	promQL = []string{"sum", "max", "rate", "increase", "changes", "absent", "histogram_quantile", "and", "or", "unless", "label_values"}
	// What Prometheus itself makes, and what it adds to each series.
	ofPrometheus = []string{"up", "ALERTS"}
	added        = []string{"job", "instance"}
	// Labels whose values appear as they happen: messages are counted per
	// account, models as they are asked.
	unforeseen = []string{"wagent_messages_received_total outcome", "wagent_llm_requests_total outcome"}
)

// faults says what an expression names that does not exist.
func faults(expr string, known map[string]metric) []string {
	var out []string
	fault := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	labels := slices.Clone(added) // that the expression's series have
	bare := grouping.ReplaceAllString(aside.ReplaceAllString(expr, " "), " ")
	for _, name := range word.FindAllString(bare, -1) {
		if slices.Contains(promQL, name) || slices.Contains(ofPrometheus, name) {
			continue
		}
		m, ok := find(name, known)
		if !ok {
			fault("there is no metric %s", name)
		}
		for l := range m.labels {
			labels = append(labels, l)
		}
		if strings.HasSuffix(name, "_bucket") {
			labels = append(labels, "le")
		}
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		m, ok := find(s[1], known)
		if !ok {
			continue // said above, or not ours
		}
		for _, x := range matcher.FindAllStringSubmatch(s[2], -1) {
			values, ok := m.labels[x[1]]
			switch {
			case slices.Contains(added, x[1]):
			case !ok:
				fault("%s has no label %s", s[1], x[1])
			case strings.HasPrefix(x[3], "$"), slices.Contains(unforeseen, s[1]+" "+x[1]):
			default:
				for v := range strings.SplitSeq(x[3], "|") {
					if !some(values, v) {
						fault("%s never has %s=%q", s[1], x[1], v)
					}
				}
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range word.FindAllString(g[1], -1) {
			if !slices.Contains(labels, l) {
				fault("it groups by %s, which none of its metrics has", l)
			}
		}
	}
	return out
}

// find knows a histogram by the names of its classic series alone: the rules
// and the dashboard ask for those.
func find(name string, known map[string]metric) (metric, bool) {
	if m, ok := known[name]; ok {
		return m, !m.histogram
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			m, ok := known[base]
			return m, ok && (m.histogram || strings.HasSuffix(base, "_seconds"))
		}
	}
	return metric{}, false
}

func some(values map[string]bool, pattern string) bool {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	for v := range values {
		if err == nil && re.MatchString(v) {
			return true
		}
	}
	return false
}

func TestFaultsOfExpressions(t *testing.T) {
	known := map[string]metric{
		"a_total":        {labels: map[string]map[string]bool{"kind": {"x": true, "y": true}}},
		"a_wait_seconds": {histogram: true},
	}
	tests := map[string]struct {
		expr string
		want int
	}{
		"what exists is no fault":              {`sum by (kind) (rate(a_total{kind=~"x|y", job="j"}[5m] offset 1d)) / 2 > 0.5`, 0},
		"a histogram's series exist":           {`histogram_quantile(0.9, sum by (le) (rate(a_wait_seconds_bucket[$__rate_interval])))`, 0},
		"a name with a slip":                   {`sum(a_totals)`, 1},
		"a name with a slip and labels":        {`sum(a_totals{kind="x"})`, 1},
		"a histogram without a suffix":         {`rate(a_wait_seconds[5m])`, 1},
		"a label that the metric lacks":        {`a_total{king="x"}`, 1},
		"a value that the label never has":     {`a_total{kind=~"x|z"}`, 1},
		"a value that is excluded for nothing": {`a_total{kind!="z"}`, 1},
		"a group by what no metric has":        {`sum by (king) (a_total)`, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := faults(tt.expr, known); len(got) != tt.want {
				t.Errorf("faults of %s: %q, want %d", tt.expr, got, tt.want)
			}
		})
	}
}

func TestEveryMetricThatOperatorsWatchExists(t *testing.T) {
	known := knownMetrics(t)
	exprs := dashboardExprs(t)
	for _, a := range alerts(t) {
		exprs["alert "+a.Alert] = append(exprs["alert "+a.Alert], a.Expr)
	}
	for where, list := range exprs {
		for _, expr := range list {
			for _, f := range faults(expr, known) {
				t.Errorf("%s: %s\n\t%s", where, f, expr)
			}
		}
	}
	if len(exprs) < 50 {
		t.Errorf("%d alerts and panels: some were not read", len(exprs))
	}
}

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	readYAML(t, "prometheus/rules/wagent.yml", &file)
	var out []alert
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	return out
}

func TestEveryAlertSaysWhatToDoAndIsTested(t *testing.T) {
	type check struct {
		Expr    string
		Samples []struct{ Labels string } `yaml:"exp_samples"`
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, name := range []string{"prometheus/rules/wagent_test.yml", "prometheus/rules/wagent_daily_test.yml"} {
		var file struct {
			Tests []struct {
				Checks []check `yaml:"promql_expr_test"`
			}
		}
		readYAML(t, name, &file)
		for _, test := range file.Tests {
			for _, c := range test.Checks {
				if m := matcher.FindStringSubmatch(c.Expr); m != nil {
					if len(c.Samples) > 0 {
						fires[m[3]] = true
					} else {
						quiet[m[3]] = true
					}
				}
			}
		}
	}
	for _, a := range alerts(t) {
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" || len(a.Annotations["description"]) < 100 {
			t.Errorf("%s does not say what it means and what to do", a.Alert)
		}
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s is tested to fire: %v, to be quiet: %v", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
	}
}
