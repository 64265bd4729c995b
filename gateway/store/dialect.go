package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A dialect is what differs between the two databases.
type dialect struct {
	name      string
	serial    string // a primary key that numbers rows in their order
	lock      string // after a SELECT: keep its rows until the end of the transaction
	lockKey   string // lock, but rows that refer to them may be added
	skip      string // after lock: leave out what others hold
	advisory  bool   // transactions run side by side, and can agree on names to lock
	with      bool   // a statement may have others beside it that write
	arrays    bool   // arguments may be arrays
	lateral   bool   // a subquery may refer to tables before it
	lazily    string // in a SELECT: the transaction's commit does not wait for the disk
	txOptions *sql.TxOptions
	away      func(error) bool // the database is not there, or can't write
	again     func(error) bool // the transaction was chosen to fail: repeat it
	unique    func(error) bool // a row with that key exists
}

var sqliteDialect = &dialect{
	name:   "sqlite",
	serial: "INTEGER PRIMARY KEY AUTOINCREMENT",
	away:   func(err error) bool { return connectionGone(err) || sqliteAway(err) },
	again:  func(error) bool { return false },
	lazily: `''`,
	unique: func(err error) bool {
		e, ok := errors.AsType[*sqlite.Error](err)
		return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
	},
}

var postgresDialect = &dialect{
	name:     "postgres",
	serial:   "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
	lock:     " FOR UPDATE",
	lockKey:  " FOR NO KEY UPDATE",
	skip:     " SKIP LOCKED",
	advisory: true,
	with:     true,
	arrays:   true,
	lateral:  true,
	// What is committed later, and waited for, is on disk after it (PostgreSQL's
	// documentation, 30.4): a send's claim with the end of its run.
	lazily: `set_config('synchronous_commit', 'off', TRUE)`,
	// Each statement must see what was committed while it waited for a lock.
	txOptions: &sql.TxOptions{Isolation: sql.LevelReadCommitted},
	away:      func(err error) bool { return connectionGone(err) || postgresAway(err) },
	again: func(err error) bool {
		code := sqlState(err)
		return code == "40P01" || code == "40001" // deadlock_detected, serialization_failure
	},
	unique: func(err error) bool { return sqlState(err) == "23505" },
}

// open returns the database that cfg names. PostgreSQL is not dialled yet.
func open(cfg Config) (*dialect, *sql.DB, error) {
	if cfg.URL != "" {
		db, err := openPostgres(cfg.URL)
		return postgresDialect, db, err
	}
	db, err := openSQLite(cfg.Path)
	return sqliteDialect, db, err
}

// openSQLite opens a file with one connection: SQLite has one writer, and a
// queue in front of it is fairer than its locks. A commit is on disk when it
// returns (synchronous=FULL in WAL mode).
func openSQLite(path string) (*sql.DB, error) {
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
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func openPostgres(rawURL string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(rawURL) // its errors hide the password
	if err != nil {
		return nil, err
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	// What a frozen process has locked must be free by the time that others take
	// its work over.
	if cfg.RuntimeParams["idle_in_transaction_session_timeout"] == "" {
		cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "10s"
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "wagent"
	}
	db := stdlib.OpenDB(*cfg)
	n := connections(runtime.GOMAXPROCS(0))
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db, nil
}

// connections is how many connections to PostgreSQL a process opens on so many
// processors. More of them do no more work: where the database is on the same
// machine, what they have begun takes the processors from each other and from us.
func connections(processors int) int { return min(max(8, 4*processors), 20) }

// hold keeps a name to this transaction until it ends: others that hold it are
// waited for. In SQLite, transactions are one after another anyway.
func (q queries) hold(ctx context.Context, name string) error {
	if !q.advisory {
		return nil
	}
	if _, err := q.exec(ctx, `SELECT pg_advisory_xact_lock($1)`, lockNumber(name)); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	return nil
}

// lockNumber is what PostgreSQL knows a name by.
func lockNumber(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("wagent/" + name)) // never fails (hash.Hash)
	return int64(h.Sum64())
}

// lockOf is lock for the rows of one table of several.
func (d *dialect) lockOf(table string) string {
	if d.lock == "" {
		return ""
	}
	return d.lock + " OF " + table
}

// connectionGone knows the errors of the network and of database/sql.
func connectionGone(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// sqliteAway knows the primary result codes that say nothing about the
// statement (sqlite.org/rescode.html).
func sqliteAway(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return !errors.Is(err, context.Canceled)
	default:
		return false
	}
}

// postgresAway knows the classes of SQLSTATE that say nothing about the
// statement (PostgreSQL's documentation, appendix A).
func postgresAway(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if pgconn.Timeout(err) || pgconn.SafeToRetry(err) {
		return !errors.Is(err, context.Canceled)
	}
	code := sqlState(err)
	for _, class := range []string{
		"08",    // connection exception
		"53",    // insufficient resources: disk full, too many connections
		"57",    // operator intervention: shutdown, statement timeout
		"58",    // system error
		"25006", // read-only transaction: a standby
		"25P03", // the transaction was idle for too long: we were frozen
		"40",    // deadlocks, when repeating did not help
		"55P03", // lock timeout
	} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}

func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
