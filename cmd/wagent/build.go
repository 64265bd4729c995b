package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/extra/redisprometheus/v9"
	"github.com/redis/go-redis/v9"

	"wagent/cmd/wagent/internal/config"
	"wagent/context/recall"
	"wagent/debounce"
	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/dispatch/route"
	"wagent/dispatch/route/pick"
	"wagent/dispatch/route/router"
	"wagent/dispatch/spend"
	"wagent/dispatch/webhook"
	"wagent/gateway"
	"wagent/gateway/api"
	"wagent/gateway/api/accounts"
	"wagent/gateway/api/contacts"
	keyring "wagent/gateway/api/keys"
	"wagent/gateway/api/messages"
	"wagent/gateway/api/pauses"
	"wagent/gateway/api/sessions"
	"wagent/gateway/api/templates"
	"wagent/gateway/api/usage"
	"wagent/gateway/api/whatsrb"
	"wagent/gateway/api/windows"
	"wagent/gateway/cloudapi"
	"wagent/gateway/sandbox"
	"wagent/gateway/store"
)

// host is the world that a program runs in. The zero host is the real one; the
// demo watches, and tests bring a network of their own.
type host struct {
	listener net.Listener                                                         // nil: listen where the configuration says
	dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil: the real network
	batch    func(debounce.Batch)                                                 // told of each batch that is due; may be nil
	send     func(*gateway.Send)                                                  // told of each send that was settled; may be nil
	parts    func(*dispatch.Parts)                                                // may put something between runs and what they are made of; may be nil
	// rehearsal is where the WhatsApp for tests is that linked devices connect
	// to; empty: the real one. Only builds for tests take another.
	rehearsal string
	graphURL  string // the Graph API of accounts that are added over the API; empty: Meta's
	noSocket  bool   // nobody else on this machine is to reach it: no socket in the data directory
}

// An app is the whole program, joined but not running.
type app struct {
	home     *home // nil where replicas share a database
	listener net.Listener
	handler  http.Handler // of what listener takes in
	store    *store.Store
	redis    redis.UniversalClient
	timers   dispatch.Windows
	sandbox  *sandbox.Sandbox
	registry *prometheus.Registry
	in, out  []func(context.Context) error // the way in ends first
	lines    []func(context.Context) error // the accounts' connections: last of all
	drain    time.Duration                 // how long a stop takes, what is being sent then aside
	closers  []func()
}

// Close gives back what build opened. Run must have returned.
func (a *app) Close() {
	for _, give := range slices.Backward(a.closers) {
		give()
	}
}

// build joins the parts. It is one straight line on purpose, from the way in
// to the way out: read it top to bottom to learn who depends on whom.
func build(ctx context.Context, cfg config.Config, h host, log *slog.Logger) (_ *app, err error) {
	a := &app{registry: newRegistry()}
	reg := prometheus.Registerer(a.registry)
	defer func() {
		if err != nil {
			a.Close()
		}
	}()

	// Where state lives: SQL is the truth, Redis is the timer.
	storeConfig := store.Config{URL: string(cfg.Database.URL)}
	keys := cfg.GatewayKeys()
	if storeConfig.URL == "" {
		if a.home, err = openHome(&cfg); err != nil {
			return nil, err
		}
		a.closers = append(a.closers, func() { _ = a.home.Close() })
		storeConfig.Path, storeConfig.Key = a.home.database(), a.home.key
		keys = append(keys, a.home.keys...)
	} else {
		storeConfig.Key, _ = cfg.Key()
	}
	db, err := store.Open(ctx, storeConfig, log, reg)
	if err != nil {
		return nil, err
	}
	a.store = db
	db.TellOfPauses(func(hooks []gateway.Webhook, p *gateway.PausedPeer, at time.Time) []gateway.Delivery {
		return route.Paused(hooks, &gateway.Run{Conversation: p.Conversation, Peer: p.Peer, Account: p.Account}, &p.Pause, at) // of a person: no run has it
	})
	db.TellOfTemplates(route.Teller{}.Template)
	db.TellOfWebhooks(route.Teller{}.Webhook)
	a.closers = append(a.closers, func() { _ = db.Close() })
	if a.home != nil { // whoever held leases in this database is dead
		if err := db.ReleaseLeases(ctx); err != nil {
			return nil, err
		}
	}
	if err := db.Declare(ctx, cfg.Accounts, cfg.Agents, cfg.Webhooks, keys); err != nil {
		return nil, err
	}
	rdb, closeRedis, err := openRedis(ctx, &cfg, log)
	if err != nil {
		return nil, err
	}
	a.redis = rdb
	a.closers = append(a.closers, closeRedis)
	if err := reg.Register(redisprometheus.NewCollector("wagent", "redis", rdb)); err != nil {
		return nil, fmt.Errorf("register metrics of the redis pool: %w", err)
	}

	// Installations may share a Redis: a key says whose it is.
	prefix := "wagent:" + db.Installation()

	// A stop gives at most four fifths of its time to runs, the rest to what
	// they say.
	a.drain = cfg.Drain
	runDrain, sendDrain := cfg.Drain*4/5, cfg.Drain/5

	// debounce: when is a burst over?
	debouncer, err := debounce.New(rdb, debounce.Config{
		Prefix: prefix, Shards: cfg.Debounce.Shards, Lease: cfg.Debounce.Lease,
		Concurrency: cfg.Runs.Concurrency, Drain: runDrain,
	}, log, reg)
	if err != nil {
		return nil, err
	}

	timers := dispatch.Windows{Debouncer: debouncer, Store: db, Agents: db}
	a.timers = timers

	// gateway: the way in.
	inbox := &gateway.Inbox{Store: db, Agents: db, Window: timers, MaxAge: cfg.MaxMessageAge, Skipped: newSkipped(reg), Log: log}
	a.sandbox = sandbox.New(inbox, db.Directory(), log, reg)
	events := cloudapi.NewHandler(db, inbox, db, log, reg)

	// gateway: accounts that are linked devices, both ways.
	var outbox *gateway.Outbox
	var replicas *bell // nil: there are no others
	if a.home == nil {
		replicas = &bell{rdb: rdb, channel: prefix + ":bell", self: rand.Text(), log: log}
	}
	devices, err := newLinked(ctx, &cfg, a, h, inbox, replicas, func() { outbox.Wake() }, log)
	if err != nil {
		return nil, err
	}

	// gateway: the way out.
	client := &http.Client{Transport: transport(h)}
	graph := cloudapi.NewChannel(client, log, reg)
	replies := newReplyMetrics(reg)
	outbox = &gateway.Outbox{
		Store: db, Holder: devices.Holder(), Resend: cfg.UnknownSends == "resend", Drain: sendDrain, Log: log,
		Channels: map[gateway.AccountKind]gateway.Channel{
			gateway.CloudAPI:     graph,
			gateway.LinkedDevice: devices,
			gateway.Sandbox:      a.sandbox,
		},
		Met: func(ctx context.Context, account gateway.AccountID, asked, known gateway.Address) error {
			waiting, err := db.JoinNumbers(ctx, account, asked, known)
			if len(waiting) > 0 {
				inbox.Joined(ctx, account, waiting)
			}
			return err
		},
		Observe: func(s *gateway.Send) {
			replies.observe(s)
			if h.send != nil {
				h.send(s)
			}
		},
	}
	delivery := webhook.Defaults()
	delivery.Concurrency, delivery.Timeout = cfg.WebhookDelivery.Concurrency, cfg.WebhookDelivery.Timeout
	delivery.Schedule, delivery.DisableAfter = cfg.WebhookDelivery.Schedule, cfg.WebhookDelivery.DisableAfter
	delivery.AllowAddresses, delivery.Drain, delivery.Dial, delivery.Tell = cfg.WebhookDelivery.AllowAddresses, sendDrain, h.dial, replicas.ringWebhooks
	delivery.Replied = devices.sent
	hooks := webhook.New(db, delivery, log, reg)
	db.OnDeliveries(hooks.Wake)
	db.TellOfMessages(route.Teller{}.Message)
	db.TellOfLinks(route.Teller{}.Session)

	// dispatch: from a due batch to a reply and its actions.
	models, err := newModels(&cfg, client)
	if err != nil {
		return nil, err
	}
	directory := db.Directory()
	guard := spend.New(directory, log, reg)
	guard.Tell = func(ctx context.Context, e *gateway.QuotaEvent) error {
		return db.TellOfQuota(ctx, e, route.Teller{}.Quota)
	}
	answerer, memory := agent.New(models, log, reg), recall.New(rdb, db, prefix, log, reg)
	parts := dispatch.Parts{
		Runs: db, Requests: db, Actions: db, Directory: directory, Kept: db.MemoryIn, Results: db.ActionResults, Spent: guard.Reached,
		Memory: memory, Answerer: answerer,
		Compactor: &recall.Compactor{Summaries: db, Summarizer: answerer, Log: log},
		Picker:    &pick.Picker{Runs: db, Accounts: directory, Ask: router.New(answerer, reg).Ask, Within: guard.Within, Log: log},
		Sent:      devices.sent, Working: devices.working,
		Rearm: timers.Rearm, Drop: timers.Drop,
	}
	if h.parts != nil {
		h.parts(&parts)
	}
	dispatcher, err := dispatch.New(parts, dispatch.Config{
		Concurrency: cfg.Runs.Concurrency, Timeout: cfg.Runs.Timeout, Lease: cfg.Debounce.Lease,
		MaxAttempts: 5, Drain: runDrain,
	}, log, reg)
	if err != nil {
		return nil, err
	}
	sweeper := dispatch.NewSweeper(dispatcher, db, db, debouncer, log)
	handle := func(ctx context.Context, b debounce.Batch) error {
		if h.batch != nil {
			h.batch(b)
		}
		return dispatcher.Handle(ctx, b)
	}

	seen, uses := reached{db}, keyring.NewUses(db, log)
	handler, err := api.New(api.Deps{ //nolint:contextcheck // it has each request's context
		Keys: db, Owners: db, Auditor: db, Requests: db, Used: uses.Use, Webhook: events, Registry: a.registry, Log: log,
		Parts: []api.Part{
			&whatsrb.API{
				Agents: seen, Editor: seen, Accounts: seen, Runs: seen, Runner: reachedRunner{dispatcher, seen},
				Sandbox: customers{a.sandbox, db}, Taken: takes(&cfg), Limits: cfg.AgentLimits,
			},
			&sessions.API{Accounts: seen, Links: seen, Pairings: seen, Person: seen, Files: seen, Changed: devices.changed},
			&pauses.API{Conversations: seen, Pauses: seen, Editor: pausing{db, timers, log}},
			&windows.API{Conversations: seen, Agents: seen, Overrides: seen, Answerer: timers, Limits: cfg.AgentLimits},
			&messages.API{Accounts: seen, Messages: seen, Sender: speaking{pausing{db, timers, log}, devices.sent}},
			&templates.API{Templates: db, Editor: db, Meta: graph.Templates(), Sender: speaking{pausing{db, timers, log}, devices.sent}},
			&contacts.API{People: seen, Agents: seen, Memories: seen, Contexts: contexts{db, memory}, Messages: seen},
			newHooksAPI(db, cfg.WebhookDelivery.AllowAddresses),
			&usage.API{Records: db, Accounts: db},
			&accounts.API{Accounts: seen, Conversations: seen, Connects: db, Apps: db, Meta: graph, GraphURL: cmp.Or(h.graphURL, gateway.DefaultGraphURL)},
			&keyring.API{Keys: db, Audit: db},
		},
		// Without Redis messages are still taken in safely, so it does not count.
		Ready: map[string]api.Check{"database": db.Ping},
	})
	if err != nil {
		return nil, err
	}
	a.handler = handler
	if a.listener = h.listener; a.listener == nil {
		if a.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	a.closers = append(a.closers, func() { _ = a.listener.Close() })

	a.in = []func(context.Context) error{
		func(ctx context.Context) error { return serveHTTP(ctx, a.listener, handler, runDrain, log) },
		sweeper.Run, uses.Run,
		func(ctx context.Context) error { return debouncer.Run(ctx, handle) },
		dispatcher.Run,
		forgetRequests(db, log).Run, endPauses(db, log).Run, forgetDeliveries(db, log).Run,
	}
	if local := a.listenLocal(ctx, h, log); local != nil {
		a.in = append(a.in, func(ctx context.Context) error { return serveHTTP(ctx, local, trusting(handler), runDrain, log) })
	}
	a.out = []func(context.Context) error{outbox.Run, hooks.Run}
	a.lines = []func(context.Context) error{devices.run}
	if replicas != nil {
		a.lines = append(a.lines, func(ctx context.Context) error {
			return replicas.Run(ctx, func(what, about string) {
				if what == ringHooks {
					hooks.Hear(webhooksOf(about)...)
				} else {
					devices.hear(ctx, what, about)
				}
			})
		})
	}
	return a, nil
}

// transport is how models and the Graph API are reached. No request has a
// timeout of its own: the run's and the send's contexts end it.
func transport(h host) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.IdleConnTimeout = 0, 256, 90*time.Second // hundreds of runs ask one provider
	if h.dial != nil {
		t.DialContext, t.Proxy, t.ForceAttemptHTTP2 = h.dial, nil, false
	}
	return t
}

// customers is the customer's side of sandbox accounts, as the API shows it.
type customers struct {
	*sandbox.Sandbox
	store *store.Store
}

// SandboxMessages satisfies whatsrb.Sandbox.
func (c customers) SandboxMessages(ctx context.Context, account gateway.AccountID, phone string, limit int) ([]gateway.Message, error) {
	var conversation gateway.ConversationID
	if phone != "" {
		found, err := c.store.ConversationWith(ctx, account, gateway.Address{Phone: phone})
		if gateway.KindOf(err) == gateway.NotFound {
			return nil, nil // they never wrote
		}
		if err != nil {
			return nil, err
		}
		conversation = found.ID
	}
	return c.store.Messages(ctx, account, conversation, limit)
}

// pausing drops the window of whoever is paused.
type pausing struct {
	*store.Store
	windows gateway.Windower
	log     *slog.Logger
}

// dropPatience is how long a pause waits for Redis to drop the window.
const dropPatience = time.Second

// PutPause satisfies pauses.Editor.
func (p pausing) PutPause(ctx context.Context, x *gateway.Pause) error {
	if err := p.Store.PutPause(ctx, x); err != nil {
		return err
	}
	p.drop(ctx, x.Conversation)
	return nil
}

// drop drops the window of a conversation whose pause began, whether its client
// is still there or not.
func (p pausing) drop(ctx context.Context, id gateway.ConversationID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropPatience)
	defer cancel()
	// What was in it is held: left alone, it comes to its end and finds nothing.
	if err := p.windows.Drop(ctx, id); err != nil {
		p.log.WarnContext(ctx, "window of a paused conversation left to its end", "conversation", id, "err", err)
	}
}
