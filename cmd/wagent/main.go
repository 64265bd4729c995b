// Command wagent answers WhatsApp messages with AI agents.
//
// It is the only package that sees all the others: it reads the flags and the
// configuration, joins the parts ([build]), runs them, and takes them down in
// the order that loses nothing. State lives in the parts' stores.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // accounts name zones, and a bare container has no files of them

	"github.com/alecthomas/kong"

	"wagent/cmd/wagent/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends us at once
	kept := make([]byte, reserve)
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		debug.SetMemoryLimit(limit + reserve)
	}
	status := run(ctx, os.Args[1:], process{env: os.LookupEnv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	runtime.KeepAlive(kept)
	os.Exit(status)
}

// reserve is memory that is never touched, and so takes none: address space. But
// the collector begins when the heap is twice what was in use, and what runs use
// for a moment is much beside what they keep. Without it a busy process collects
// several times a second, and whatever is under way waits for it; with it the heap
// may grow by as much more between two collections. GOGC holds as ever, and so does
// GOMEMLIMIT, in which the runtime would count it.
const reserve = 128 << 20

// process is what a command has of its surroundings.
type process struct {
	env            func(string) (string, bool)
	stdin          io.Reader // nil: nobody types
	stdout, stderr io.Writer
}

// The exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUse    = 2
)

type commands struct {
	Serve      serveCommand      `cmd:"" help:"Run the gateway. Without a configuration: SQLite in ./data, an in-process Redis, a sandbox account and the scripted model."`
	Pair       pairCommand       `cmd:"" help:"Link an account to a phone, by a QR code in the terminal or a code to type."`
	Key        keyCommand        `cmd:"" help:"Make, list and revoke API keys."`
	Deliveries deliveriesCommand `cmd:"" help:"See what was delivered to webhooks, replay it, test and pause webhooks."`
	Demo       demoCommand       `cmd:"" help:"Show the whole way of a message in one process: no server, account, key or network is needed."`
	Bench      benchCommand      `cmd:"" help:"Measure what wagent needs."`
	Check      checkCommand      `cmd:"" help:"Check a configuration: exit 0, or 2 with one sentence per fault."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

// run is main with its surroundings passed in. It returns the exit status.
func run(ctx context.Context, args []string, p process) int {
	var cmds commands
	status, exited := exitDone, false
	parser, err := kong.New(&cmds, kong.Name("wagent"),
		kong.Description("A self-hosted WhatsApp gateway that runs AI agents on inbound messages."),
		kong.Writers(p.stdout, p.stderr), kong.UsageOnError(),
		kong.Exit(func(code int) { status, exited = code, true }))
	if err != nil {
		fmt.Fprintln(p.stderr, "wagent:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	switch {
	case exited: // --help
		return status
	case err != nil:
		fmt.Fprintf(p.stderr, "wagent: %v\nTry: wagent --help\n", err)
		return exitUse
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return code(p, parsed.Run(p))
}

// code tells the user of an error and returns the exit status that it has.
func code(p process, err error) int {
	var use useError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errFaults):
		return exitUse
	case errors.As(err, &use):
		fmt.Fprintln(p.stderr, use.text)
		return exitUse
	default:
		fmt.Fprintln(p.stderr, "wagent:", err)
		return exitFailed
	}
}

// useError is bad use: its text says all.
type useError struct{ text string }

func (e useError) Error() string { return e.text }

// errFaults is a configuration whose faults are told already.
var errFaults = errors.New("the configuration has faults")

type checkCommand struct {
	Config string `arg:"" optional:"" default:"configs/wagent.yaml" help:"The configuration file." type:"path"`
}

// Run implements wagent check.
func (c checkCommand) Run(p process) error {
	if config.Check(p.stdout, c.Config, p.env) != exitDone {
		return errFaults
	}
	return nil
}

type versionCommand struct{}

// Run implements wagent version.
func (versionCommand) Run(p process) error {
	fmt.Fprintln(p.stdout, "wagent", versionText())
	return nil
}

// versionText is the module's, or the commit that was built.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit := "unknown"
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return fmt.Sprintf("%s, commit %.12s, %s", info.Main.Version, commit, info.GoVersion)
}

// newLogger writes as the configuration says.
func newLogger(w io.Writer, cfg *config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.Log.Level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
