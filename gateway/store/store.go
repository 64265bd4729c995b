// Package store keeps every noun of package gateway in SQL: in one SQLite file
// by default, in PostgreSQL where several processes share the work.
//
// It guarantees what the rest of wagent builds on. A method that returns nil
// has committed, and committed means on disk, but for ClaimRun and FinishRun, which
// say what they mean, and for what became of attempts to deliver, which are made again
// if that is forgotten; one that fails has changed
// nothing, unless it says otherwise. A message is on record once, whatever WhatsApp repeats. A
// conversation has at most one unfinished run. What a claim hands out (a run, a
// send, a delivery) is fenced by its generation or attempt: whoever was
// claimed over can write nothing any more. The end of a run is one
// transaction, with all that follows from it.
//
// State lives in the database only, but for agents, and a Directory's webhooks and
// accounts, that are remembered for two seconds. After a crash nothing needs repair: leases and deadlines run out
// and the work is claimed again. Of two processes that share a database each
// sees what the other committed. Secrets are sealed under the configuration's
// secret_key; API keys are hashed.
//
// Every "now" is the caller's clock, never the database's, so that virtual
// time works; replicas must keep theirs within a second of each other.
//
// The package is over the size budget because the nouns meet in transactions
// (the end of a run touches seven tables): splitting it would export the
// transactions. Each noun has its file, and dialect.go alone knows which
// database it is.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/gateway"
)

// Config says where the database is.
type Config struct {
	URL  string   // postgres://…; empty: SQLite
	Path string   // the SQLite file, in a directory that exists; made with mode 0600
	Key  [32]byte // seals secrets; replicas must agree
}

// Validate says what is missing.
func (c *Config) Validate() error {
	switch {
	case c.URL == "" && c.Path == "":
		return errors.New("database: neither a url nor a path")
	case c.URL != "" && !strings.HasPrefix(c.URL, "postgres://") && !strings.HasPrefix(c.URL, "postgresql://"):
		return errors.New("database: url must start with postgres://")
	case c.Key == [32]byte{}:
		return errors.New("secret_key must not be all zeros")
	}
	return nil
}

// A Store is an open database. Its methods are safe for concurrent use. Their
// errors are gateway.Errors where a caller can do something about them:
// Unavailable whenever the database is away.
type Store struct {
	db       *sql.DB
	q        queries // outside of transactions
	key      sealer
	log      *slog.Logger
	arrivals []group                             // of accounts: where transactions run side by side, so do these
	answers  cache[gateway.AccountID, answering] // who answers an account
	agents   cache[struct{}, []gateway.Agent]    // all of them; as are the next
	webhooks cache[struct{}, []gateway.Webhook]
	accounts cache[gateway.AccountID, gateway.Account]
	roster   roster
	metrics  *gauges

	installation  string
	delivered     func(webhooks ...int64)                                                      // they have something to be delivered to them; may be nil
	tell          func([]gateway.Webhook, *gateway.PausedPeer, time.Time) []gateway.Delivery   // of a pause that begins; may be nil
	tellOfMessage func([]gateway.Webhook, *gateway.MessageEvent, time.Time) []gateway.Delivery // of a message; may be nil
	tellOfLink    func([]gateway.Webhook, *gateway.LinkEvent, time.Time) []gateway.Delivery    // of a linked device; may be nil
	tellOfWebhook func([]gateway.Webhook, *gateway.Webhook, time.Time) []gateway.Delivery      // of one that was turned off; may be nil
	tellTemplate  func([]gateway.Webhook, *gateway.Template, time.Time) []gateway.Delivery     // of a template's new status; may be nil
	schema        string                                                                       // where PostgreSQL keeps our tables, quoted; empty: SQLite

	closing sync.Once
	closed  error
}

// Open opens the database, brings its tables up to date and checks that
// cfg.Key is the one that its secrets were sealed with. It refuses a database
// that a newer wagent wrote. The caller must Close the Store. A nil reg
// registers no metrics.
func Open(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	key, err := newSealer(cfg.Key)
	if err != nil {
		return nil, err
	}
	d, db, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{db: db, q: queries{db: db, dialect: d, patience: patience}, key: key, log: log}
	s.arrivals = make([]group, 1)
	if d.advisory {
		s.arrivals = make([]group, arrivalGroups)
	}
	for i := range s.arrivals {
		s.arrivals[i].commit = s.addArrivals
	}
	if err := s.prepare(ctx, reg); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context, reg prometheus.Registerer) error {
	from, to, err := migrate(ctx, s.q, s.repeatTx, latest)
	if err != nil {
		return s.fail(err, "migrate database")
	}
	if from != to {
		s.log.InfoContext(ctx, "database migrated", "database", s.q.name, "from", from, "to", to)
	}
	if err := s.checkKey(ctx); err != nil {
		return err
	}
	if s.q.advisory {
		if s.schema, err = one(ctx, s.q, scanText[string], `SELECT quote_ident(current_schema())`); err != nil {
			return s.fail(err, "ask for the schema")
		}
	}
	s.metrics, err = newGauges(s, reg)
	return err
}

// Close closes the database. It may be called twice.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.metrics.unregister()
		s.closed = s.db.Close()
	})
	return s.closed
}

// Ping reads from the database.
func (s *Store) Ping(ctx context.Context) error {
	_, err := one(ctx, s.q, scanInt, `SELECT MAX(version) FROM schema_version`)
	return s.fail(err, "ping database")
}

// ReleaseLeases makes the runs, requests, webhooks' lanes and links in hand free at once. It is for
// the start of the only process that uses the database: those that held the
// leases are dead. Claimed sends are left alone, since what the dead process
// wrote to WhatsApp last is not known: they go through their quarantine.
func (s *Store) ReleaseLeases(ctx context.Context) error {
	err := s.inTx(ctx, func(q queries) error {
		if _, err := q.exec(ctx, `UPDATE runs SET lease_until = 0 WHERE status IN ('pending', 'running')`); err != nil {
			return err
		}
		if _, err := q.exec(ctx, `UPDATE links SET lease_until = 0 WHERE lease_until <> 0`); err != nil {
			return err
		}
		if _, err := q.exec(ctx, releaseRequests); err != nil {
			return err
		}
		if _, err := q.exec(ctx, `DELETE FROM lane_owners`); err != nil {
			return err
		}
		_, err := q.exec(ctx, `UPDATE lanes SET owner = '', until = 0`)
		return err
	})
	return s.fail(err, "release leases")
}

// patience is how long a statement or a transaction may take. A server that
// vanished without a word would otherwise be waited for until the network gives
// up, a quarter of an hour later, by every loop of this process.
const patience = 15 * time.Second

// inTx does something in one transaction, as repeatTx does, within patience.
func (s *Store) inTx(ctx context.Context, do func(queries) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.repeatTx(ctx, do)
}

// repeatTx does something in one transaction. PostgreSQL may end one of two that
// met in a deadlock: do is then called again, and must start from nothing.
func (s *Store) repeatTx(ctx context.Context, do func(queries) error) error {
	const tries = 4
	for i := 1; ; i++ {
		err := s.tryTx(ctx, do)
		if err == nil || i == tries || !s.q.again(err) || ctx.Err() != nil {
			return err
		}
	}
}

func (s *Store) tryTx(ctx context.Context, do func(queries) error) error {
	tx, err := s.db.BeginTx(ctx, s.q.txOptions)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	q := queries{db: tx, dialect: s.q.dialect, webhooks: new([]int64)}
	if err := do(q); err != nil {
		return err
	}
	err = tx.Commit()
	if len(*q.webhooks) > 0 && s.delivered != nil { // also where nobody knows how it ended
		s.delivered(*q.webhooks...)
	}
	return err
}

// fail says what was being done when err came up, and makes it Unavailable if
// the database is away. A nil err stays nil.
func (s *Store) fail(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	if _, ok := errors.AsType[*gateway.Error](err); ok {
		return err
	}
	if s.q.away(err) {
		return &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is not available", Err: err}
	}
	return err
}

// or turns sql.ErrNoRows into a NotFound that says what there is none of.
func or(err error, format string, args ...any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return &gateway.Error{Kind: gateway.NotFound, Msg: fmt.Sprintf(format, args...)}
	}
	return err
}

// now is the time to write down: the database keeps milliseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
