package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/cmd/wagent/internal/config/document"
)

var wantLine = regexp.MustCompile(`(?m)^# want: (.*)$`)

// faultsOf takes a joined error apart.
func faultsOf(t *testing.T, err error) []*document.Fault {
	t.Helper()
	var out []*document.Fault
	if err == nil {
		return nil
	}
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		f, ok := errors.AsType[*document.Fault](e)
		if !ok {
			t.Fatalf("%v is not a Fault", e)
		}
		out = append(out, f)
	}
	return out
}

// brokenFiles are the samples of what this build refuses.
func brokenFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/broken/*.yaml")
	build := map[bool]string{true: "linked", false: "nolinked"}[LinkedDevices]
	ofBuild, errBuild := filepath.Glob("testdata/broken/" + build + "/*.yaml")
	if err != nil || errBuild != nil || len(files) < 25 || len(ofBuild) < 2 {
		t.Fatalf("Glob = %d files and %d of this build, %v, %v", len(files), len(ofBuild), err, errBuild)
	}
	return append(files, ofBuild...)
}

func TestBrokenFilesTellEachFault(t *testing.T) {
	for _, f := range brokenFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for _, m := range wantLine.FindAllSubmatch(src, -1) {
				want = append(want, string(m[1]))
			}
			c, err := Parse(src, values)
			for _, fault := range faultsOf(t, err) {
				got = append(got, fault.Error())
			}
			if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if strings.Contains(fmt.Sprint(err), "leaked-secret") {
				t.Errorf("a secret shows in: %v", err)
			}
			if diff := cmp.Diff(Config{}, c, equatePrefixes); diff != "" {
				t.Error("a broken file gave a configuration")
			}
		})
	}
}

// What can not stand in a file of testdata: bytes that editors would mend, and
// sizes.
func TestParseRefuses(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a: &a [x,x,x,x,x,x,x,x,x,x]\n")
	for c := 'b'; c <= 'z'; c++ {
		fmt.Fprintf(&bomb, "%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	wide := "agents:\n- &a {" + strings.Repeat("x: y, ", 2000) + "id: a}\n" + strings.Repeat("- *a\n", 2000)
	tests := map[string]struct{ src, want string }{
		"bytes that are not UTF-8":     {"listen: x\ndata_dir: \xff\n", "line 2: the line holds bytes that are not UTF-8 text, save the file as UTF-8"},
		"a NUL":                        {"\x00", "line 1: the line holds bytes that are not UTF-8 text, save the file as UTF-8"},
		"more than 1 MiB":              {strings.Repeat("#\n", document.MaxSize), "line 1: the file is larger than 1 MiB, which no configuration needs"},
		"lists of aliases of lists":    {bomb.String(), "line 1: a: there is no such key"},
		"many aliases of a wide value": {wide, "the file has more than 100000 values once its aliases are expanded, write fewer"},
		"a value that holds itself":    {"agents: &a [*a]\n", "line 1: agents[0]: must be a mapping, with a key before each value"},
		"a key of several lines":       {"\"a\\nb\": 1\n", `line 1: "a\nb": there is no such key`},
		"a fault in a second document": {"drain: 1s\n---\n[\n", "line 3: the file is not YAML"},
		"rules that mean nothing":      {"providers: {c: {kind: scripted, rules: {}}}", "line 1: providers.c.rules: "},
		"a quote that never ends":      {"drain: \"1s\n", "line 1: the file is not YAML from here on (found unexpected end of stream)"},
		"a key of many letters":        {strings.Repeat("k", 500) + ": 1\n", `line 1: "` + strings.Repeat("k", 40) + `": there is no such key`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tt.src), none)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %.300v, want %q", err, tt.want)
			}
		})
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("drain: 1s\nlisten: x\nlisten: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path string
		want []string
	}{
		"a broken file": {broken, []string{broken + ":2: listen: must be an address such as 127.0.0.1:8080", broken + ":3: listen: the key stands there twice, first in line 2, keep one"}},
		"no such file":  {filepath.Join(dir, "none.yaml"), []string{filepath.Join(dir, "none.yaml") + ": there is no such file, check the path"}},
		"a folder":      {dir, []string{dir + ": the file can not be read (is a directory), check its owner and mode"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if code := Check(&out, tt.path, none); code != 2 {
				t.Errorf("Check = %d", code)
			}
			if diff := cmp.Diff(tt.want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
			if _, err := Load(tt.path, none); err == nil || err.Error() != strings.Join(tt.want, "\n") {
				t.Errorf("Load = %v", err)
			}
		})
	}
}

func TestCheckSumsUp(t *testing.T) {
	tests := map[string]struct{ path, want string }{
		"a file":  {"../../../../configs/examples/hotel.yaml", "ok: 1 account, 1 agent, 1 webhook\n"},
		"no file": {"", "ok: 1 account, 1 agent, 0 webhooks\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if code := Check(&out, tt.path, values); code != 0 || out.String() != tt.want {
				t.Errorf("Check = %d, %q", code, out.String())
			}
		})
	}
}

func TestRulesAreFoundBesideTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	rules := "default: {output: {intent: other}}\n"
	for name, text := range map[string]string{
		"wagent.yaml": "providers: {house: {kind: scripted, rules: rules.yaml}}\n",
		"rules.yaml":  rules,
		"broken.yaml": "providers: {house: {kind: scripted, rules: bad.yaml}}\n",
		"bad.yaml":    "rules:\n- {output: {intent: other}}\ndefault: {output: {intent: other}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "wagent.yaml"), none)
	if err != nil || string(c.Providers["house"].Rules) != rules {
		t.Errorf("Load = %q, %v", c.Providers["house"].Rules, err)
	}
	want := filepath.Join(dir, "broken.yaml") + ":1: providers.house.rules: read script: line 2: a rule needs match or system_match (its lines are those of the rules)"
	if _, err := Load(filepath.Join(dir, "broken.yaml"), none); err == nil || err.Error() != want {
		t.Errorf("Load = %v, want %s", err, want)
	}
}

func FuzzParse(f *testing.F) {
	files := brokenFiles(f)
	examples, err := filepath.Glob("../../../../configs/examples/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(files, examples...) {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		src = bytes.ReplaceAll(src, []byte("rules"), []byte("rulez")) // a fuzzer's path is not to be opened
		lines := 1                                                    // which YAML 1.1 also ends with these four
		for _, r := range string(src) {
			if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) {
				lines++
			}
		}
		c, err := Parse(src, values)
		for _, fault := range faultsOf(t, err) {
			if fault.Line < 1 || fault.Line > lines || fault.Msg == "" || strings.Contains(fault.Error(), "\n") {
				t.Errorf("fault %+v of %d lines", *fault, lines)
			}
		}
		if err != nil {
			return
		}
		for _, a := range c.Agents {
			if err := a.Validate(); err != nil {
				t.Errorf("agent %s passed with %v", a.Key, err)
			}
		}
	})
}
