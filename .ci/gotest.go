//go:build ignore

// Command gotest runs go test with its arguments, prints what it prints and
// counts tests. The counts are the last line. It ends with go test's status,
// and with 1 if a test was skipped or none ran: a skipped test has not shown
// anything.
//
//	go build -o bin/gotest .ci/gotest.go && bin/gotest -race ./...
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// An event is a line of go test -json (go doc test2json).
type event struct{ Action, Package, Test, Output string }

// A report gathers what came of the tests. The output of a test is kept until
// it ends and shown if it did not pass, as go test does without -v.
type report struct {
	out                     io.Writer
	passed, failed, skipped int
	skips                   []string
	held                    map[[2]string][]string
	failedTests             map[string]int // by package
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		return 1
	}
	r := &report{out: os.Stdout, held: map[[2]string][]string{}, failedTests: map[string]int{}}
	for in := bufio.NewReader(stdout); ; {
		line, err := in.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if err != nil {
			break
		}
	}
	status := 0
	if err := cmd.Wait(); err != nil {
		status = 1
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
			status = exit.ExitCode()
		}
	}
	return r.end(status)
}

func (r *report) line(line string) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(r.out, line) // go's own words
		return
	}
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		if e.Test == "" {
			r.packageOutput(e.Output)
			return
		}
		r.held[key] = append(r.held[key], e.Output)
	case "pass":
		if e.Test != "" {
			r.passed++
			delete(r.held, key)
		}
	case "skip":
		if e.Test != "" {
			r.skipped++
			r.skips = append(r.skips, e.Package+": "+e.Test)
			r.show(key)
		}
	case "fail":
		if e.Test != "" {
			r.failed++
			r.failedTests[e.Package]++
			r.show(key)
			return
		}
		r.packageFailed(e.Package)
	}
}

// packageOutput leaves out the lines that only -v, which -json implies, shows.
func (r *report) packageOutput(s string) {
	if s != "PASS\n" {
		fmt.Fprint(r.out, s)
	}
}

// packageFailed shows what the tests printed that never ended, because of a
// panic, a deadline or an os.Exit, and counts a package that failed without a
// failed test.
func (r *report) packageFailed(name string) {
	for key := range r.held {
		if key[0] == name {
			r.show(key)
		}
	}
	if r.failedTests[name] == 0 {
		r.failed++
	}
}

func (r *report) show(key [2]string) {
	for _, s := range r.held[key] {
		noise := []string{"=== RUN", "=== PAUSE", "=== CONT", "=== NAME"}
		if !slices.ContainsFunc(noise, func(n string) bool { return strings.HasPrefix(s, n) }) {
			fmt.Fprint(r.out, s)
		}
	}
	delete(r.held, key)
}

func (r *report) end(status int) int {
	for _, s := range r.skips {
		fmt.Fprintln(r.out, "skipped:", s)
	}
	switch {
	case r.skipped > 0 && status == 0:
		fmt.Fprintln(r.out, "FAIL: a skipped test shows nothing; make what it needs available")
		status = 1
	case r.passed+r.failed+r.skipped == 0 && status == 0:
		fmt.Fprintln(r.out, "FAIL: no test ran")
		status = 1
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return status
}
