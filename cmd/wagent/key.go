package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	keyring "wagent/gateway/api/keys"

	"wagent/gateway"
)

type keyCommand struct {
	Create keyCreateCommand `cmd:"" help:"Make an API key and print it, this once."`
	List   keyListCommand   `cmd:"" help:"List the API keys, without the keys themselves."`
	Revoke keyRevokeCommand `cmd:"" help:"End an API key for good, by its id, its name, or the key itself where it was found."`
}

// keyPlace says whose keys are meant.
type keyPlace struct {
	Config string `help:"The configuration file. Default: configs/wagent.yaml, if there is one." type:"path" placeholder:"FILE"`
}

type keyCreateCommand struct {
	keyPlace
	Name      string   `required:"" help:"What the list, the log and the audit call it. A name is used once."`
	Scope     string   `default:"write" enum:"read,write,admin" help:"What it may do: read; write, which includes reading; or admin, which also has accounts, webhooks and keys. Default: write."`
	Test      bool     `help:"It reaches sandbox accounts only, and begins with wrb_test_."`
	Account   []string `help:"It reaches this account only. May be repeated." placeholder:"ID"`
	PerMinute int      `help:"How many requests it may make in a minute. Default: 600." placeholder:"N"`
}

type keyListCommand struct {
	keyPlace
	JSON bool `help:"Print JSON."`
}

type keyRevokeCommand struct {
	keyPlace
	Key string `arg:"" help:"The id of the key, its name, or the key itself (wrb_live_…), such as one found in a log; it is not printed again."`
}

// Run implements wagent key create. The key alone is on standard output.
func (c keyCreateCommand) Run(ctx context.Context, p process) error {
	return c.with(ctx, p, func(r ring) error {
		d := keyring.Draft{Name: c.Name, Scope: gateway.KeyScope(c.Scope), Test: c.Test, PerMinute: c.PerMinute}
		for _, id := range c.Account {
			d.Accounts = append(d.Accounts, gateway.AccountID(id))
		}
		k, secret, err := r.create(ctx, &d)
		if secret != "" { // it was made, whatever came after it
			fmt.Fprintf(p.stderr, "API key %s of scope %s, printed this once:\n", k.Name, k.Scope)
			fmt.Fprintln(p.stdout, string(secret))
		}
		return err
	})
}

// Run implements wagent key list.
func (c keyListCommand) Run(ctx context.Context, p process) error {
	return c.with(ctx, p, func(r ring) error {
		keys, err := r.list(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(p.stdout, append([]keyLine{}, keys...))
		}
		return table(p.stdout, keys)
	})
}

// Run implements wagent key revoke. What is no id and no name is taken for the key
// itself, and goes no further than its digest: a message, a path and the audit
// would keep it.
func (c keyRevokeCommand) Run(ctx context.Context, p process) error {
	return c.with(ctx, p, func(r ring) error {
		keys, err := r.list(ctx)
		if err != nil {
			return err
		}
		which, called := gateway.KeyDigest(gateway.Secret(strings.TrimSpace(c.Key))), "The key"
		if slices.ContainsFunc(keys, func(k keyLine) bool { return k.Name == c.Key || k.ID != nil && *k.ID == c.Key }) {
			which, called = c.Key, c.Key
		}
		err = r.revoke(ctx, which)
		if gateway.KindOf(err) == gateway.NotFound {
			return errors.New("there is no API key of that id or name, and none that is what was given")
		}
		if err == nil {
			fmt.Fprintf(p.stderr, "%s opens nothing any more.\n", called)
		}
		return err
	})
}

// with does something with the keys of the configuration's wagent: of the one
// that runs, or else of its database.
func (c keyPlace) with(ctx context.Context, p process, do func(ring) error) (err error) {
	cfg, err := serveCommand(c).load(p)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	r, closeRing, err := openRing(ctx, &cfg, p.stderr, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRing()) }()
	err = do(r)
	if e, ok := errors.AsType[*gateway.Error](err); ok && e.Kind == gateway.Invalid {
		return useError{text: "wagent: " + wrong(e)}
	}
	return err
}

// wrong is what is wrong with an input, in words of the command line.
func wrong(e *gateway.Error) string {
	if len(e.Details) == 0 {
		return e.Msg
	}
	flags := map[string]string{"accounts": "--account", "per_minute": "--per-minute"}
	var faults []string
	for _, field := range slices.Sorted(maps.Keys(e.Details)) {
		flag, ok := flags[field]
		if !ok {
			flag = "--" + field
		}
		for _, msg := range e.Details[field] {
			faults = append(faults, flag+" "+msg)
		}
	}
	return strings.Join(faults, "; ")
}

// A keyLine is a key as it is listed, and as the API shows it.
type keyLine struct {
	ID         *string             `json:"id"`
	Name       string              `json:"name"`
	Scope      gateway.KeyScope    `json:"scope"`
	Test       bool                `json:"test"`
	Accounts   []gateway.AccountID `json:"accounts"`
	PerMinute  *int                `json:"per_minute"`
	Declared   bool                `json:"declared"`
	CreatedAt  *time.Time          `json:"created_at"`
	LastUsedAt *time.Time          `json:"last_used_at"`
	RevokedAt  *time.Time          `json:"revoked_at"`
}

// table shows keys to people; a dash is what there is not.
func table(w io.Writer, keys []keyLine) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tSCOPE\tKIND\tACCOUNTS\tPER MINUTE\tCREATED\tLAST USED\tREVOKED\tDECLARED")
	for _, k := range keys {
		id, kind, accounts, perMinute, declared := "-", "live", "all", "-", "no"
		if k.ID != nil {
			id = *k.ID
		}
		if k.Test {
			kind, accounts = "test", "sandboxes"
		}
		if len(k.Accounts) > 0 {
			accounts = ""
			for i, a := range k.Accounts {
				if i > 0 {
					accounts += ","
				}
				accounts += string(a)
			}
		}
		if k.PerMinute != nil {
			perMinute = strconv.Itoa(*k.PerMinute)
		}
		if k.Declared {
			declared = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			id, k.Name, k.Scope, kind, accounts, perMinute, moment(k.CreatedAt), moment(k.LastUsedAt), moment(k.RevokedAt), declared)
	}
	return t.Flush()
}

func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04Z")
}
