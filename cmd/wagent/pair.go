package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
	"wagent/gateway/store"
)

type pairCommand struct {
	Config  string `help:"The configuration file. Default: configs/wagent.yaml, if there is one." type:"path" placeholder:"FILE"`
	Phone   string `help:"The phone's number, such as +4915112345678: shows a code to type on the phone, instead of a picture to scan." placeholder:"NUMBER"`
	Account string `arg:"" optional:"" help:"The id of the account. May be left out if the configuration has one account of kind linked_device."`
}

// Help is shown by wagent pair --help.
func (pairCommand) Help() string {
	return `Links an account of kind linked_device to a phone, as WhatsApp Web is linked. On the phone, WhatsApp > Linked devices > Link a device asks for what is shown here. Some phones then want their owner's passkey, which takes a computer with a browser.

It may run beside wagent serve, or without it. With database.url a wagent serve has to run, which does the work.`
}

// Run implements wagent pair.
func (c pairCommand) Run(ctx context.Context, p process) (err error) {
	cfg, err := serveCommand{Config: c.Config}.load(p)
	if err != nil {
		return err
	}
	t := newTalk(p)
	if t.account, err = c.account(cfg.Accounts); err != nil {
		return err
	}
	if c.Phone != "" {
		t.method, t.phone = gateway.ByCode, strings.NewReplacer(" ", "", "-", "").Replace(c.Phone)
		if !international.MatchString(t.phone) {
			return useError{text: "wagent: --phone must be the whole number with its plus sign, such as +4915112345678"}
		}
	}
	defer t.screen.close()
	if cfg.Database.URL != "" {
		return t.shared(ctx, &cfg)
	}
	if client, ok := dialLocal(ctx, cfg.DataDir); ok {
		t.pairer = &neighbour{client: client, account: t.account}
		return t.run(ctx)
	}
	return t.alone(ctx, p, cfg)
}

var international = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`) // E.164

// account returns which account is meant.
func (c pairCommand) account(accounts []gateway.Account) (gateway.AccountID, error) {
	if !config.LinkedDevices {
		return "", useError{text: "wagent: this build has no linked devices"}
	}
	var linked []string
	for _, a := range accounts {
		switch {
		case a.Kind == gateway.LinkedDevice:
			linked = append(linked, string(a.ID))
		case c.Account == string(a.ID):
			return "", useError{text: fmt.Sprintf("wagent: %s is of kind %s, only accounts of kind linked_device are paired", a.ID, a.Kind)}
		}
	}
	switch {
	case c.Account != "": // which may have been made over the API
		return gateway.AccountID(c.Account), nil
	case len(linked) == 1:
		return gateway.AccountID(linked[0]), nil
	case len(linked) > 1:
		return "", useError{text: "wagent: say which account: " + strings.Join(linked, ", ")}
	}
	return "", useError{text: `wagent: no account is a linked device. Add one to the configuration:

accounts:
  - id: acc_phone
    kind: linked_device

or name one that was made over the API.`}
}

// shared pairs over the database that the replicas share. One of them does the
// work.
func (t *talk) shared(ctx context.Context, cfg *config.Config) (err error) {
	key, _ := cfg.Key()
	db, err := store.Open(ctx, store.Config{URL: string(cfg.Database.URL), Key: key}, t.log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	t.pairer = &rows{store: db, account: t.account}
	t.hint = "No wagent serve seems to run on this database: start one, it does the work."
	return t.run(ctx)
}

// alone pairs with the whole program in this process, which ends with it.
func (t *talk) alone(ctx context.Context, p process, cfg config.Config) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	redisLogs(t.log)
	a, err := build(ctx, cfg, host{listener: ln, rehearsal: rehearsal(p), noSocket: true}, t.log)
	if err != nil {
		_ = ln.Close()
		return err
	}
	defer a.Close()
	if a.home.newKey != "" {
		t.screen.say(fmt.Sprintf("API key (kept in %s, printed this once): %s\n", a.home.keyFile(), a.home.newKey))
	}
	t.pairer = &rows{store: a.store, account: t.account}
	return t.beside(ctx, a.Run)
}

// beside pairs while the program runs, and waits for its end: what was linked
// is to be on disk by then.
func (t *talk) beside(ctx context.Context, program func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error { defer stop(); return program(ctx) })
	paired := t.run(ctx)
	stop()
	ended := g.Wait()
	if ended != nil && errors.Is(paired, errInterrupted) {
		return ended // which is why
	}
	if paired == nil {
		t.screen.say("Start wagent serve: until then nobody answers there.\n")
	}
	return errors.Join(paired, ended)
}

// rows is a pairing in a database that this process can open.
type rows struct {
	store   *store.Store
	account gateway.AccountID
}

// Start satisfies pairer.
func (r *rows) Start(ctx context.Context, method gateway.PairingMethod, phone string) (gateway.Pairing, error) {
	return r.store.StartPairing(ctx, r.account, method, phone)
}

// Watch satisfies pairer.
func (r *rows) Watch(ctx context.Context) (gateway.Pairing, gateway.Link, error) {
	p, err := r.store.Pairing(ctx, r.account)
	if err != nil {
		return p, gateway.Link{}, err
	}
	l, err := r.store.Link(ctx, r.account)
	return p, l, err
}

// Answer satisfies pairer.
func (r *rows) Answer(ctx context.Context, answer []byte) error {
	return r.store.AnswerPairing(ctx, r.account, answer)
}

// Confirm satisfies pairer.
func (r *rows) Confirm(ctx context.Context) error { return r.store.ConfirmPairing(ctx, r.account) }

// newTalk returns a talk with whoever sits at the process' terminal.
func newTalk(p process) *talk {
	t := &talk{
		method: gateway.ByQR, stdin: p.stdin, screen: &screen{out: p.stdout, terminal: isTerminal(p.stdout), logs: p.stderr},
		every: 300 * time.Millisecond, unanswered: 10 * time.Second, limit: time.Minute,
	}
	if t.stdin == nil {
		t.stdin = strings.NewReader("")
	}
	t.log = slog.New(slog.NewTextHandler(t.screen, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return t
}
