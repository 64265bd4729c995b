package debounce_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReadmeShowsTheExample that is compiled and run.
func TestReadmeShowsTheExample(t *testing.T) {
	_, body, _ := strings.Cut(page(t, "example_test.go"), "\nfunc Example() {\n")
	body, _, _ = strings.Cut(body, "\n}\n")
	_, body, ok := strings.Cut(body, "\n\n")
	if !ok || !strings.Contains(body, "debounce.New(") {
		t.Fatalf("the example is not found but %q", body)
	}
	if !strings.Contains(page(t, "README.md"), "```go\n"+body+"\n```\n") {
		t.Errorf("the README does not show the example:\n%s", body)
	}
}

// TestReadmeNamesRealThings: the script files, errors and keys are what they
// are called.
func TestReadmeNamesRealThings(t *testing.T) {
	readme := page(t, "README.md")
	files := regexp.MustCompile(`lua/\w+\.lua`).FindAllString(readme, -1)
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("the README names %s: %v", f, err)
		}
	}
	code := page(t, "debounce.go") + page(t, "lease.go") + page(t, "layout.go")
	names := regexp.MustCompile("`(?:\\w+\\.)?((?:Err)?[A-Z]\\w+)`").FindAllStringSubmatch(readme, -1)
	for _, n := range names {
		if !regexp.MustCompile(`\b` + n[1] + `\b`).MatchString(code) {
			t.Errorf("the README names %s, which is nowhere", n[1])
		}
	}
	keys := regexp.MustCompile(`(?:\}|…):([a-z]+)`).FindAllStringSubmatch(readme, -1)
	sources := code + page(t, "lua/common.lua")
	for _, k := range keys {
		if !regexp.MustCompile(`["' ]` + k[1] + `["': ]`).MatchString(sources) {
			t.Errorf("the README names the key %s, which is nowhere", k[1])
		}
	}
	if len(files) == 0 || len(names) < 5 || len(keys) < 8 {
		t.Errorf("found are %d files, %d names and %d keys", len(files), len(names), len(keys))
	}
}
