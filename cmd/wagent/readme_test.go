package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadmeNamesRealCommands(t *testing.T) {
	text := readme(t)
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)(?:^|\s)go run \./cmd/wagent (\w+)((?: --\w+)*)`).FindAllStringSubmatch(text, -1) {
		status, stdout, _ := try(t, m[1], "--help")
		if status != exitDone {
			t.Errorf("the README names %q, which is no command", m[1])
		}
		for flag := range strings.FieldsSeq(m[2]) {
			if !strings.Contains(stdout, flag) {
				t.Errorf("wagent %s has no %s", m[1], flag)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^make (\w+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("the README names make %s, which is no target", m[1])
		}
	}
	if n := strings.Count(text, "\n"); n >= 150 {
		t.Errorf("the README has %d lines, want under 150", n)
	}
	first, _, _ := strings.Cut(text[strings.Index(text, "```sh"):], "\n```\n")
	if !strings.HasPrefix(first, "```sh\ngo run ./cmd/wagent demo") || !strings.Contains(first, "\nmake test") {
		t.Errorf("the README does not begin with its two commands but with %s", first)
	}
}

func TestReadmeNamesRealFiles(t *testing.T) {
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(readme(t), -1) {
		if _, err := os.Stat("../../" + m[1]); err != nil && !strings.Contains(m[1], "://") {
			t.Errorf("the README links to %s: %v", m[1], err)
		}
	}
}

// TestReadmeListsEveryDependency: a module that is required directly has a row
// that says why.
func TestReadmeListsEveryDependency(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(readme(t), "## Dependencies")
	table, _, _ = strings.Cut(table, "\n## ")
	for path := range strings.FieldsSeq(string(out)) {
		path = regexp.MustCompile(`/v\d+$|/libraries$`).ReplaceAllString(path, "")
		if name := path[strings.LastIndex(path, "/")+1:]; !strings.Contains(table, name) {
			t.Errorf("the README does not say why %s is there", path)
		}
	}
}
