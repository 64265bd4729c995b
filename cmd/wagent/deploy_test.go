package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"wagent/cmd/wagent/internal/config"
)

// deployed is where what operators start from lies.
const deployed = "../../deploy"

func TestPromtoolTakesRulesAndConfiguration(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("WAGENT_TEST_STRICT") != "" { //nolint:forbidigo // a test's environment says how strict it is
			t.Fatalf("This test needs promtool in PATH: %v", err)
		}
		t.Skip("This test needs promtool in PATH.")
	}
	for name, args := range map[string][]string{
		"check config": {"check", "config", "prometheus.yml"},
		"check rules":  {"check", "rules", "rules/wagent.yml"},
		"test rules":   {"test", "rules", "rules/wagent_test.yml", "rules/wagent_daily_test.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, promtool, args...)
			cmd.Dir = filepath.Join(deployed, "prometheus")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		})
	}
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr string }
}

type board struct {
	Title       string
	Panels      []panel
	Annotations struct{ List []struct{ Name, Expr string } }
	Templating  struct {
		List []struct{ Name, Definition string }
	}
}

func dashboard(t *testing.T) (b board, src []byte) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(deployed, "grafana/dashboards/the-way-of-a-message.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(src, &b); err != nil {
		t.Fatal(err)
	}
	return b, src
}

func dashboardExprs(t *testing.T) map[string][]string {
	t.Helper()
	b, _ := dashboard(t)
	out := map[string][]string{}
	for _, p := range b.Panels {
		for _, x := range p.Targets {
			out["panel "+p.Title] = append(out["panel "+p.Title], x.Expr)
		}
	}
	for _, a := range b.Annotations.List {
		out["annotation "+a.Name] = []string{a.Expr}
	}
	for _, v := range b.Templating.List {
		if metric, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")"), ","); ok {
			out["variable "+v.Name] = []string{fmt.Sprintf("sum by (%s) (%s)", label, metric)}
		}
	}
	return out
}

func TestDashboardIsWhole(t *testing.T) {
	b, src := dashboard(t)
	for _, uid := range regexp.MustCompile(`"uid": "([^"]*)"`).FindAllSubmatch(src, -1) {
		if string(uid[1]) != "${datasource}" {
			t.Errorf("uid %s is of one installation only", uid[1])
		}
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range b.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("%s shows nothing, or does not say what", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("%s lies on %q or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

var variable = regexp.MustCompile(`\$\{(\w+)`)

// names returns the variables that a file of ours asks for.
func names(t *testing.T, name string) []string {
	t.Helper()
	var out []string
	for _, m := range variable.FindAllStringSubmatch(readText(t, name), -1) {
		if m[1] != "NAME" && !slices.Contains(out, m[1]) { // NAME stands in comments
			out = append(out, m[1])
		}
	}
	return out
}

// environment gives each name a value that the configuration takes.
func environment(names []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch {
		case !slices.Contains(names, name):
			return "", false
		case name == "WAGENT_SECRET_KEY":
			return "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", true
		case name == "WAGENT_DATABASE_URL":
			return "postgres://wagent:secret@postgres:5432/wagent?sslmode=disable", true
		case name == "WAGENT_REDIS_URL":
			return "redis://:secret@redis:6379/0", true
		}
		return "value-of-" + strings.ToLower(name), true
	}
}

// taken is what is there to be taken in: a # without a space after it.
var taken = regexp.MustCompile(`(?m)^#([a-z]|  )`)

func TestDeployedConfigurationsLoad(t *testing.T) {
	var compose struct {
		Services map[string]struct{ Environment map[string]string }
	}
	readYAML(t, "compose.yaml", &compose)
	var passed []string
	for name := range compose.Services["wagent"].Environment {
		passed = append(passed, name)
	}
	var secret struct {
		StringData map[string]string `yaml:"stringData"`
	}
	readYAML(t, "kubernetes/secret.yaml.example", &secret)
	var secrets []string
	for name := range secret.StringData {
		secrets = append(secrets, name)
	}
	var configMap struct{ Data map[string]string }
	readYAML(t, "kubernetes/configmap.yaml", &configMap)
	composed := readText(t, "wagent.compose.yaml")

	tests := map[string]struct {
		text     string
		env      []string
		accounts int
	}{
		"in the image":                        {readText(t, "wagent.image.yaml"), nil, 0},
		"in compose":                          {composed, passed, 1},
		"in compose, with all that it offers": {taken.ReplaceAllString(composed, "$1"), passed, 2},
		"in kubernetes":                       {configMap.Data["wagent.yaml"], secrets, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "wagent.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(path, environment(tt.env))
			if err != nil {
				t.Fatal(err)
			}
			if len(cfg.Accounts) != tt.accounts || cfg.Listen != "0.0.0.0:8080" {
				t.Errorf("%d accounts, listens on %s", len(cfg.Accounts), cfg.Listen)
			}
		})
	}
}

func TestEnvExampleListsWhatIsAskedFor(t *testing.T) {
	listed := map[string]bool{"COMPOSE_PROFILES": true} // docker compose asks for it by itself
	for line := range strings.Lines(readText(t, ".env.example")) {
		if name, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			listed[name] = listed[name] || false
		}
	}
	for _, name := range names(t, "compose.yaml") {
		if _, ok := listed[name]; !ok {
			t.Errorf("compose.yaml asks for %s, which .env.example does not list", name)
		}
		listed[name] = true
	}
	for name, asked := range listed {
		if !asked {
			t.Errorf("nobody asks for %s of .env.example", name)
		}
	}
}

func TestStoppingTakesLongerThanDrain(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Grace string `yaml:"stop_grace_period"`
		}
	}
	readYAML(t, "compose.yaml", &compose)
	var pod struct {
		Spec struct {
			Template struct {
				Spec struct {
					Grace      int `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Lifecycle struct {
							PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
						}
					}
				}
			}
		}
	}
	readYAML(t, "kubernetes/deployment.yaml", &pod)
	spec := pod.Spec.Template.Spec
	unit := regexp.MustCompile(`(?m)^TimeoutStopSec=(\w+)$`).FindStringSubmatch(readText(t, "systemd/wagent.service"))
	if unit == nil || len(spec.Containers) != 1 {
		t.Fatal("the unit has no TimeoutStopSec, or the pod not one container")
	}
	for where, grace := range map[string]string{
		"compose.yaml":    compose.Services["wagent"].Grace,
		"wagent.service":  unit[1],
		"deployment.yaml": fmt.Sprintf("%ds", spec.Grace-spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds),
	} {
		d, err := time.ParseDuration(grace)
		if least := config.Default().Drain + 5*time.Second; err != nil || d < least {
			t.Errorf("%s gives a stop %q, less than %v", where, grace, least)
		}
	}
}

func TestDeployedYAMLParses(t *testing.T) {
	files := 0
	err := filepath.WalkDir(deployed, func(path string, d fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || d.IsDir() || ext != ".yaml" && ext != ".yml" && ext != ".example" {
			return err
		}
		if filepath.Base(path) == ".env.example" {
			return nil
		}
		files++
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		dec := yaml.NewDecoder(f)
		for {
			var doc map[string]any
			switch err := dec.Decode(&doc); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return fmt.Errorf("parse %s: %w", path, err)
			case len(doc) == 0:
				return fmt.Errorf("parse %s: a document is empty", path)
			}
		}
	})
	if err != nil || files < 12 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestPrometheusFindsWagent(t *testing.T) {
	var file struct {
		Scrapes []struct {
			Job    string                       `yaml:"job_name"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "prometheus/prometheus.yml", &file)
	for _, s := range file.Scrapes {
		if s.Job == "wagent" && s.Static[0].Targets[0] == "wagent:8080" {
			return
		}
	}
	t.Error("no job wagent scrapes compose's service at the port that it listens on")
}

func readText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployed, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(readText(t, name)), into); err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
}
