// Package devices keeps what the WhatsApp library (whatsmeow) must remember of
// our linked devices: keys, Signal sessions, and the messages that it decrypted
// but that were not handled yet.
//
// The library acknowledges a message to WhatsApp when its database fails while
// it decrypts, unless the connection's context has ended by then. It can keep
// memories of writes that the database never took. And it writes from whatever
// process runs it. So every account works on a view of its own, which
//
//   - runs nothing, not even a read, once the account's lease is over;
//   - in PostgreSQL also makes each write conditional on the fence's number, in
//     the write's own transaction: a process that was frozen and woke up writes
//     nothing, whatever its clock says;
//   - calls Fence.Broke before the library sees the first error, so that the
//     connection ends before anything is acknowledged, and answers nothing from
//     then on: what the library holds in memory may be wrong, and goes with it;
//   - bounds each statement and each transaction to 30 seconds.
//
// An operation whose own context ended breaks nothing. The library's caches may
// be ahead of the database then, too: give it contexts that end with the
// connection, and each connection an Account and devices of its own.
//
// State lives in one SQLite file, which only this process may open (its
// directory is locked elsewhere), or in the schema "whatsmeow" of a PostgreSQL
// database. A commit is on disk when it returns (in SQLite: WAL mode with
// synchronous=FULL): what the library tells WhatsApp rests on it. After a crash
// WhatsApp delivers again what was not acknowledged, and the library finds its
// decrypted text here.
package devices

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"modernc.org/sqlite"
)

// patience bounds a statement and a transaction, waiting included.
const patience = 30 * time.Second

// A Config says where the database is.
type Config struct {
	URL   string // postgres://…; empty: SQLite
	Path  string // of the SQLite file, which is made with mode 0600
	Guard string // PostgreSQL: a statement that returns a row while account $1 has fence $2, and keeps it so until the transaction ends
}

// A Store is the library's database. Its methods may be called from any
// goroutine.
type Store struct {
	db      *sql.DB
	dialect string // as the library names it
	guard   string // empty: the only process
}

// Open opens the database and brings its tables to the library's version. Of
// processes that open one at the same time, all but one wait for that.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	connector, err := connect(cfg)
	if err != nil {
		return nil, fmt.Errorf("open the devices' database: %w", err)
	}
	return open(ctx, cfg, connector)
}

func open(ctx context.Context, cfg Config, connector driver.Connector) (*Store, error) {
	s := &Store{db: sql.OpenDB(connector), dialect: "sqlite"}
	s.db.SetMaxOpenConns(1) // SQLite has one writer, and the library must never see a locked database
	upgrade := s.upgrade
	if cfg.URL != "" {
		s.dialect, s.guard = "postgres", cfg.Guard
		s.db.SetMaxOpenConns(10)
		s.db.SetMaxIdleConns(10)
		s.db.SetConnMaxIdleTime(5 * time.Minute)
		upgrade = s.upgradeAlone
	}
	if err := upgrade(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("upgrade the devices' database: %w", err), s.db.Close())
	}
	return s, nil
}

// Close closes the database. What accounts do from then on breaks them.
func (s *Store) Close() error { return s.db.Close() }

func connect(cfg Config) (driver.Connector, error) {
	if cfg.URL == "" {
		return connectSQLite(cfg.Path)
	}
	if cfg.Guard == "" {
		return nil, errors.New("PostgreSQL needs a guard: another process may hold the account")
	}
	pg, err := pgx.ParseConfig(cfg.URL) // its errors hide the password
	if err != nil {
		return nil, err
	}
	if pg.ConnectTimeout == 0 {
		pg.ConnectTimeout = 5 * time.Second
	}
	pg.RuntimeParams["search_path"] = "whatsmeow"
	// A frozen process must not keep the guard's row from those who take over.
	pg.RuntimeParams["idle_in_transaction_session_timeout"] = "10s"
	if pg.RuntimeParams["application_name"] == "" {
		pg.RuntimeParams["application_name"] = "wagent"
	}
	return stdlib.GetConnector(*pg), nil
}

// A file connects to SQLite.
type file struct {
	driver driver.Driver
	dsn    string
}

func connectSQLite(path string) (driver.Connector, error) {
	// The journal files take their mode from the database's.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}}
	return file{&sqlite.Driver{}, "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()}, nil
}

func (f file) Connect(context.Context) (driver.Conn, error) { return f.driver.Open(f.dsn) }
func (f file) Driver() driver.Driver                        { return f.driver }

func (s *Store) upgrade(ctx context.Context) error {
	return sqlstore.NewWithDB(s.db, s.dialect, nil).Upgrade(ctx)
}

// upgradeAlone upgrades PostgreSQL while it holds a lock that every process
// agrees on: the library's own upgrades do not expect company.
func (s *Store) upgradeAlone(ctx context.Context) error {
	lock, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // back to the pool, the lock is released by then
	for _, statement := range []string{
		`SELECT pg_advisory_lock(hashtextextended('wagent/whatsmeow', 0))`,
		`CREATE SCHEMA IF NOT EXISTS whatsmeow`,
		// The library takes a table of that name in any schema for its own.
		`CREATE TABLE IF NOT EXISTS whatsmeow.whatsmeow_version (version INTEGER, compat INTEGER)`,
	} {
		if _, err := lock.ExecContext(ctx, statement); err != nil {
			return errors.Join(err, discard(lock))
		}
	}
	if err := s.upgrade(ctx); err != nil {
		return errors.Join(err, discard(lock))
	}
	if _, err := lock.ExecContext(ctx, `SELECT pg_advisory_unlock(hashtextextended('wagent/whatsmeow', 0))`); err != nil {
		return errors.Join(err, discard(lock))
	}
	return nil
}

// discard closes a connection for good, and frees what it locked.
func discard(conn *sql.Conn) error {
	if err := conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
		return err
	}
	return nil
}
