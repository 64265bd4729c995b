package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"wagent/gateway"
)

type deliveriesCommand struct {
	Webhooks hooksCommand      `cmd:"" help:"List the webhooks, and how each fares; with --json with their whole URLs."`
	List     listCommand       `cmd:"" help:"List what was, and is to be, delivered to a webhook, newest first."`
	Show     showCommand       `cmd:"" help:"Show a delivery: what it says, and every attempt."`
	Replay   replayCommand     `cmd:"" help:"Make a delivery that ended again, or all dead letters since a time."`
	Test     testCommand       `cmd:"" help:"Have a test delivered to a webhook, and show how it ends."`
	Pause    pauseHookCommand  `cmd:"" help:"Deliver nothing to a webhook. What is to be delivered waits; nothing is given up."`
	Resume   resumeHookCommand `cmd:"" help:"Deliver to a webhook again that was paused."`
}

// hookPlace says whose webhooks are meant.
type hookPlace struct {
	Config string `help:"The configuration file. Default: configs/wagent.yaml, if there is one." type:"path" placeholder:"FILE"`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// hookArg names a webhook.
type hookArg struct {
	Webhook int64 `arg:"" help:"The number of the webhook, which wagent deliveries webhooks shows."`
}

func (a hookArg) path(more ...string) string {
	return "/webhooks/" + strconv.FormatInt(a.Webhook, 10) + strings.Join(more, "")
}

type (
	hooksCommand struct{ hookPlace }

	listCommand struct {
		hookPlace
		hookArg
		State  string        `enum:",pending,succeeded,dead" default:"" help:"Only those that are pending (to be made), succeeded or dead (given up)." placeholder:"STATE"`
		Event  string        `help:"Only those of this event, such as agent_action.dispatched." placeholder:"NAME"`
		Of     string        `name:"run" help:"Only those of this run." placeholder:"ID"`
		Since  sinceArgument `help:"Only those that were made at this time or later: 2026-11-27T08:00:00Z, or 90m for the last ninety minutes." placeholder:"TIME"`
		Limit  int           `default:"50" help:"How many, at most."`
		Before string        `help:"Only those that were made before the delivery with this id." placeholder:"ID"`
	}

	showCommand struct {
		hookPlace
		hookArg
		Delivery string `arg:"" help:"The id of the delivery (del_…)."`
	}

	replayCommand struct {
		hookPlace
		hookArg
		Delivery string        `arg:"" optional:"" help:"The id of the delivery (del_…)."`
		Dead     bool          `help:"All dead letters of the webhook, in their order; needs --since."`
		Since    sinceArgument `help:"With --dead: those that were made at this time or later: 2026-11-27T08:00:00Z, or 36h for the last day and a half." placeholder:"TIME"`
	}

	testCommand struct {
		hookPlace
		hookArg
	}

	pauseHookCommand struct {
		hookPlace
		hookArg
	}

	resumeHookCommand struct {
		hookPlace
		hookArg
	}
)

// A sinceArgument is a time, or how long ago it was.
type sinceArgument string

// at returns the time; zero if there is none.
func (s sinceArgument) at(now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(string(s)); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, string(s))
	if err != nil {
		err = useError{fmt.Sprintf("wagent: --since must be a time such as 2026-11-27T08:00:00Z, or how long ago, such as 90m, not %q", string(s))}
	}
	return t, err
}

// Run implements wagent deliveries webhooks.
func (c hooksCommand) Run(ctx context.Context, p process) error {
	return c.with(ctx, p, func(ask asker) error {
		var hooks []hookLine
		if err := ask(ctx, http.MethodGet, "/webhooks", nil, &hooks); err != nil {
			return err
		}
		for i := range hooks {
			if err := ask(ctx, http.MethodGet, hookArg{hooks[i].ID}.path("/settings"), nil, &hooks[i].hookFare); err != nil {
				return err
			}
		}
		if c.JSON {
			return printJSON(p.stdout, append([]hookLine{}, hooks...))
		}
		t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tHOST\tTAKES\tORDERED\tSTATE")
		for i := range hooks {
			h := &hooks[i]
			takes := strings.Join(append(slices.Clone(h.Events), h.Actions...), " ")
			fmt.Fprintf(t, "%d\t%s\t%s\t%v\t%s\n", h.ID, hostOf(h.URL), cmp.Or(takes, "all"), h.Ordered, h.state(time.Now()))
		}
		return t.Flush()
	})
}

// mostAtOnce is how many deliveries one call lists.
const mostAtOnce = 50

// Run implements wagent deliveries list.
func (c listCommand) Run(ctx context.Context, p process) error {
	since, err := c.Since.at(time.Now())
	switch {
	case err != nil:
		return err
	case c.Limit < 1:
		return useError{"wagent: --limit must be positive"}
	}
	q := url.Values{}
	for name, value := range map[string]string{"state": c.State, "event": c.Event, "run_id": c.Of} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339))
	}
	return c.with(ctx, p, func(ask asker) error {
		all := []json.RawMessage{}
		for before := c.Before; len(all) < c.Limit; {
			if before != "" {
				q.Set("before", before)
			}
			limit := min(c.Limit-len(all), mostAtOnce)
			q.Set("limit", strconv.Itoa(limit))
			var page []json.RawMessage
			if err := ask(ctx, http.MethodGet, c.path("/deliveries?", q.Encode()), nil, &page); err != nil {
				return err
			}
			all = append(all, page...)
			if len(page) < limit {
				break
			}
			var last deliveryLine
			if err := json.Unmarshal(page[len(page)-1], &last); err != nil {
				return fmt.Errorf("read a delivery: %w", err)
			}
			before = last.ID
		}
		if c.JSON {
			return printJSON(p.stdout, all)
		}
		return deliveriesTable(p.stdout, all)
	})
}

// Run implements wagent deliveries show.
func (c showCommand) Run(ctx context.Context, p process) error {
	return c.with(ctx, p, func(ask asker) error {
		return c.show(ctx, p, ask, http.MethodGet, c.path("/deliveries/", url.PathEscape(c.Delivery)))
	})
}

// show makes a call whose answer is a delivery, and shows that.
func (c hookPlace) show(ctx context.Context, p process, ask asker, method, path string) error {
	var raw json.RawMessage
	if err := ask(ctx, method, path, nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(p.stdout, raw)
	}
	var d deliveryLine
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("read a delivery: %w", err)
	}
	return d.print(p.stdout)
}

// Run implements wagent deliveries replay.
func (c replayCommand) Run(ctx context.Context, p process) error {
	since, err := c.Since.at(time.Now())
	switch {
	case err != nil:
		return err
	case (c.Delivery != "") == c.Dead:
		return useError{"wagent: name one delivery, or say --dead and --since"}
	case c.Dead && since.IsZero():
		return useError{"wagent: --dead needs --since, such as --since 24h"}
	case !c.Dead && c.Since != "":
		return useError{"wagent: --since goes with --dead"}
	}
	return c.with(ctx, p, func(ask asker) error {
		if c.Delivery != "" {
			return c.show(ctx, p, ask, http.MethodPost, c.path("/deliveries/", url.PathEscape(c.Delivery), "/replay"))
		}
		var out struct {
			Replayed int  `json:"replayed"`
			More     bool `json:"more"`
		}
		in := map[string]any{"replay": map[string]string{"since": since.UTC().Format(time.RFC3339)}}
		if err := ask(ctx, http.MethodPost, c.path("/deliveries/replay"), in, &out); err != nil {
			return err
		}
		if c.JSON {
			return printJSON(p.stdout, out)
		}
		fmt.Fprintf(p.stdout, "%d dead letters are delivered again.\n", out.Replayed)
		if out.More {
			fmt.Fprintln(p.stdout, "There may be more: repeat the command.")
		}
		return nil
	})
}

// Run implements wagent deliveries test.
func (c testCommand) Run(ctx context.Context, p process) error {
	return c.with(ctx, p, func(ask asker) error { return c.show(ctx, p, ask, http.MethodPost, c.path("/test")) })
}

// Run implements wagent deliveries pause.
func (c pauseHookCommand) Run(ctx context.Context, p process) error {
	return c.pause(ctx, p, c.hookArg, true, "Nothing is delivered to webhook %d until: wagent deliveries resume %[1]d\n")
}

// Run implements wagent deliveries resume.
func (c resumeHookCommand) Run(ctx context.Context, p process) error {
	return c.pause(ctx, p, c.hookArg, false, "Webhook %d is delivered to again.\n")
}

func (c hookPlace) pause(ctx context.Context, p process, hook hookArg, paused bool, said string) error {
	return c.with(ctx, p, func(ask asker) error {
		var raw json.RawMessage
		in := map[string]any{"settings": map[string]bool{"paused": paused}}
		if err := ask(ctx, http.MethodPatch, hook.path("/settings"), in, &raw); err != nil {
			return err
		}
		if c.JSON {
			return printJSON(p.stdout, raw)
		}
		fmt.Fprintf(p.stdout, said, hook.Webhook)
		return nil
	})
}

// An asker calls the API, as askNeighbour does.
type asker func(ctx context.Context, method, path string, in, out any) error

// with does something over the API of the configuration's wagent: of the one that
// runs in the data directory, or else of its database.
func (c hookPlace) with(ctx context.Context, p process, do func(asker) error) (err error) {
	cfg, err := serveCommand{Config: c.Config}.load(p)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	client, closeAll, err := openAPI(ctx, &cfg, p.stderr, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	err = do(func(ctx context.Context, method, path string, in, out any) error {
		return askNeighbour(ctx, client, method, path, in, out)
	})
	if gateway.KindOf(err) == gateway.NotFound {
		return errors.New("there is no such webhook or delivery: wagent deliveries webhooks, and list, show what there is")
	}
	return err
}
