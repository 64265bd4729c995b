package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"wagent/cmd/wagent/internal/bench/windows"
	"wagent/debounce/redistest"
)

// littleBench is what a bench takes that takes a moment.
var littleBench = []string{"--callers", "1,20", "--adds", "240", "--rounds", "1", "--pending", "20,30", "--spread", "100ms", "--background", "200", "--windows", "20", "--burst", "40"}

// TestBenchDebouncePrintsJSON that is a whole report: what the figures are worth
// is package windows' to test.
func TestBenchDebouncePrintsJSON(t *testing.T) {
	server := redistest.Start(t)
	status, stdout, stderr := try(t, append([]string{"bench", "debounce", "--json", "--redis", "redis://" + server.Addr() + "/1"}, littleBench...)...)
	if status != exitDone {
		t.Fatalf("bench debounce = %d\n%s", status, stderr)
	}
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	var r windows.Report
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	if len(r.Adds) != 2 || r.Adds[1].Callers != 20 || len(r.Late) != 2 || r.Late[1].Pending != 30 || r.Life.Windows != 20 || r.Burst.Windows != 40 {
		t.Errorf("it did not measure what it was told to:\n%s", stdout)
	}
	for _, key := range []string{"of_ceiling", "p99_9_ms", "memory_per_window", "commands_per_window", "redis_cpu_ms", "drained_s", "mean_script_ms"} {
		if !strings.Contains(stdout, `"`+key+`": `) {
			t.Errorf("the JSON has no %s", key)
		}
	}
	if info := server.Client().Info(t.Context(), "keyspace").Val(); strings.Contains(info, "keys=") {
		t.Errorf("keys are left: %s", info)
	}
}

func TestBenchDebouncePrintsATable(t *testing.T) {
	server := redistest.Start(t)
	status, stdout, stderr := try(t, append([]string{"bench", "debounce", "--redis", "redis://" + server.Addr()}, littleBench...)...)
	if status != exitDone || !strings.Contains(stdout, "of the ceiling") || !strings.Contains(stdout, "drained in") {
		t.Errorf("bench debounce = %d\n%s\n%s", status, stdout, stderr)
	}
}

func TestBenchDebounceSaysWhatIsWrong(t *testing.T) {
	server := redistest.Start(t)
	url := "redis://" + server.Addr()
	if err := server.Client().Set(t.Context(), "{taken}:epoch", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	gone := redistest.Start(t)
	gone.Stop()
	tests := map[string]struct {
		args   []string
		status int
		says   string
	}{
		"no Redis":                  {nil, exitUse, "--redis"},
		"no address":                {[]string{"--redis", "http://user:secret@host"}, exitUse, "--redis is not a Redis address"},
		"no number":                 {[]string{"--redis", url, "--callers", "many"}, exitUse, "--callers"},
		"nobody who adds":           {[]string{"--redis", url, "--callers", "0"}, exitUse, "wagent: callers must be"},
		"no windows":                {[]string{"--redis", url, "--burst", "0"}, exitUse, "wagent: pending, windows and burst must be"},
		"a prefix that is a puzzle": {[]string{"--redis", url, "--prefix", "a{b}"}, exitUse, "wagent: prefix may hold"},
		"a prefix that is taken":    {[]string{"--redis", url, "--prefix", "taken"}, exitFailed, "take another prefix"},
		"a Redis that is away":      {[]string{"--redis", "redis://" + gone.Addr()}, exitFailed, "redis at " + gone.Addr() + " can not be used"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := try(t, append([]string{"bench", "debounce"}, tt.args...)...)
			if status != tt.status || !strings.Contains(stderr, tt.says) || stdout != "" && tt.status == exitFailed {
				t.Errorf("bench debounce %v = %d, want %d and %q\n%s%s", tt.args, status, tt.status, tt.says, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "secret") {
				t.Errorf("it tells a password:\n%s%s", stdout, stderr)
			}
		})
	}
}

func TestBenchDebounceRefusesANodeOfACluster(t *testing.T) {
	c := redistest.StartCluster(t)
	status, _, stderr := try(t, "bench", "debounce", "--redis", "redis://"+c.Masters[0].Addr())
	if status != exitFailed || !strings.Contains(stderr, "is a node of a cluster") {
		t.Errorf("bench debounce = %d, %s", status, stderr)
	}
}

// tellsHowToMeasure checks that what a page tells of a bench can be run.
func tellsHowToMeasure(t *testing.T, page, bench string) {
	t.Helper()
	_, help, _ := try(t, "bench", bench, "--help")
	lines := regexp.MustCompile(`(?m)^go run \./cmd/wagent bench `+bench+`(.*)$`).FindAllStringSubmatch(page, -1)
	for _, m := range lines {
		for _, flag := range regexp.MustCompile(`--\w+`).FindAllString(m[1], -1) {
			if !strings.Contains(help, flag) {
				t.Errorf("the page names %s, which is no flag", flag)
			}
		}
	}
	if len(lines) == 0 || !strings.Contains(page, "\nmake bench ") {
		t.Error("the page does not tell how to measure")
	}
}

// TestPageOfDebounce: what it tells to run can be run, and its figures are this
// program's.
func TestPageOfDebounce(t *testing.T) {
	b, err := os.ReadFile("../../debounce/README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	tellsHowToMeasure(t, page, "debounce")
	r := windows.Report{Server: windows.Server{Version: "7.0.15"}, Adds: make([]windows.Adds, 3), Late: make([]windows.Late, 3), Burst: windows.Burst{Slow: &windows.Slow{}}}
	var table strings.Builder
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	_, figures, _ := strings.Cut(page, "```text\n")
	figures, _, _ = strings.Cut(figures, "```")
	if got, want := labels(figures), labels(table.String()); got != want {
		t.Errorf("the page's figures have the labels\n%s\nwant\n%s", got, want)
	}
}

// labels leaves of each line what comes before its first figure.
func labels(table string) string {
	figures := regexp.MustCompile(`(^| )[\d-][\d.,]*( .*|$)`)
	var out []string
	for line := range strings.Lines(table) {
		out = append(out, figures.ReplaceAllString(strings.Join(strings.Fields(line), " "), ""))
	}
	return strings.Join(out, "\n")
}
