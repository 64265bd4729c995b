package devices

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
)

// What Fence.Broke may be told, besides the errors of the database.
var (
	ErrFenced = errors.New("the account is not held by this process any more")
	ErrClosed = errors.New("the account was closed")
)

// A view is the database/sql driver of one account. Its connections are the
// Store's, which they borrow for a statement or a transaction.
//
// It is a driver because the library asks for a *sql.DB, whose transactions and
// rows are no interfaces: nothing above it sees the errors of Commit and Next.
type view struct {
	s     *Store
	fence Fence

	breaking sync.Once
	broken   atomic.Pointer[error]
}

func (v *view) Connect(context.Context) (driver.Conn, error) { return &conn{v: v}, nil }
func (v *view) Driver() driver.Driver                        { return v }

// Open is there for the interface.
func (v *view) Open(string) (driver.Conn, error) { return &conn{v: v}, nil }

// allowed says whether a statement may run at all.
func (v *view) allowed(ctx context.Context) error {
	if err := v.broken.Load(); err != nil {
		v.breaking.Do(func() {}) // until Broke has returned
		return *err
	}
	if !v.fence.Held() {
		return v.fail(context.WithoutCancel(ctx), ErrFenced)
	}
	return nil
}

// fail is every error's way to the library. Unless ctx, which is the library's,
// ended, the view is broken when fail returns.
func (v *view) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if errors.Is(err, driver.ErrBadConn) {
		err = fmt.Errorf("connection lost: %v", err) //nolint:errorlint // database/sql would repeat what failed
	}
	v.breaking.Do(func() {
		err = fmt.Errorf("devices of account %s: %w", v.fence.Account, err)
		v.broken.Store(&err)
		v.fence.Broke(err)
	})
	return *v.broken.Load()
}

// begin starts a transaction that the fence guards to its end. Its errors are
// still to go through fail.
func (v *view) begin(ctx context.Context) (*sql.Tx, error) {
	var options *sql.TxOptions
	if v.s.guard != "" {
		// The guard must see a change that it waited for.
		options = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	tx, err := v.s.db.BeginTx(ctx, options)
	if err != nil || v.s.guard == "" {
		return tx, err
	}
	var one int
	err = tx.QueryRowContext(ctx, v.s.guard, v.fence.Account, v.fence.Number).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrFenced
	}
	if err != nil {
		_ = tx.Rollback() // nothing was written
		return nil, err
	}
	return tx, nil
}

// A conn is one of the library's connections.
type conn struct {
	v    *view
	tx   *sql.Tx // nil: none
	ctx  context.Context
	done context.CancelFunc
}

// CheckNamedValue leaves each value to the driver below.
func (c *conn) CheckNamedValue(*driver.NamedValue) error { return nil }

// Prepare is there for the interface: the library prepares nothing.
func (c *conn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("prepared statements are not supported")
}

// Begin is there for the interface: database/sql calls BeginTx.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// Close has nothing to give back.
func (c *conn) Close() error { return nil }

// BeginTx starts a transaction, which is always one that may write.
func (c *conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if options != (driver.TxOptions{}) {
		return nil, c.v.fail(ctx, errors.New("transactions have no options here"))
	}
	if err := c.v.allowed(ctx); err != nil {
		return nil, err
	}
	limited, done := context.WithTimeout(ctx, patience)
	tx, err := c.v.begin(limited)
	if err != nil {
		done()
		return nil, c.v.fail(ctx, err)
	}
	c.tx, c.ctx, c.done = tx, ctx, done
	return c, nil
}

// Commit ends the transaction of the connection.
func (c *conn) Commit() error {
	return c.v.fail(c.ctx, c.end((*sql.Tx).Commit))
}

// Rollback ends the transaction of the connection.
func (c *conn) Rollback() error {
	err := c.end((*sql.Tx).Rollback)
	if errors.Is(err, sql.ErrTxDone) {
		return nil // its context ended
	}
	return c.v.fail(c.ctx, err)
}

func (c *conn) end(how func(*sql.Tx) error) error {
	tx, done := c.tx, c.done
	c.tx, c.done = nil, nil
	defer done()
	return how(tx)
}

// ExecContext runs a statement in the connection's transaction, or in one of
// its own.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.v.allowed(ctx); err != nil {
		return nil, err
	}
	limited, done := context.WithTimeout(ctx, patience)
	defer done()
	if c.tx != nil {
		result, err := c.tx.ExecContext(limited, query, values(args)...)
		return result, c.v.fail(ctx, err)
	}
	tx, err := c.v.begin(limited)
	if err != nil {
		return nil, c.v.fail(ctx, err)
	}
	result, err := tx.ExecContext(limited, query, values(args)...)
	if err != nil {
		_ = tx.Rollback() // nothing was written
		return nil, c.v.fail(ctx, err)
	}
	return result, c.v.fail(ctx, tx.Commit())
}

// QueryContext runs a query. One that writes gets a transaction of its own,
// unless it is in one, until its rows are closed.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.v.allowed(ctx); err != nil {
		return nil, err
	}
	limited, done := context.WithTimeout(ctx, patience)
	r := &rows{v: c.v, ctx: ctx, done: done}
	var on interface {
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	} = c.v.s.db
	var err error
	switch {
	case c.tx != nil:
		on = c.tx
	case !reads(query):
		r.tx, err = c.v.begin(limited)
		on = r.tx
	}
	if err == nil {
		r.below, err = on.QueryContext(limited, query, values(args)...) //nolint:rowserrcheck // Next does
	}
	if err == nil {
		err = r.prepare()
	}
	if err != nil {
		err = r.fail(err)
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// reads says whether a query writes nothing for certain.
func reads(query string) bool {
	query = strings.TrimSpace(query)
	return len(query) >= 6 && strings.EqualFold(query[:6], "select")
}

func values(args []driver.NamedValue) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a.Value
	}
	return out
}

// rows are the rows of a query, as the driver below returns them.
type rows struct {
	v       *view
	ctx     context.Context
	done    context.CancelFunc
	below   *sql.Rows // nil: the query failed
	tx      *sql.Tx   // of the query alone; nil: none
	failed  bool
	columns []string
	row, at []any // at points into row
}

// prepare makes room for a row.
func (r *rows) prepare() (err error) {
	r.columns, err = r.below.Columns()
	r.row, r.at = make([]any, len(r.columns)), make([]any, len(r.columns))
	for i := range r.row {
		r.at[i] = &r.row[i]
	}
	return err
}

func (r *rows) fail(err error) error {
	r.failed = r.failed || err != nil
	return r.v.fail(r.ctx, err)
}

func (r *rows) Columns() []string { return r.columns }

func (r *rows) Next(dest []driver.Value) error {
	if !r.below.Next() {
		if err := r.below.Err(); err != nil {
			return r.fail(err)
		}
		return io.EOF
	}
	if err := r.below.Scan(r.at...); err != nil {
		return r.fail(err)
	}
	for i := range dest {
		dest[i] = r.row[i]
	}
	return nil
}

func (r *rows) Close() error {
	defer r.done()
	if r.below != nil {
		if err := r.below.Close(); err != nil {
			_ = r.fail(err)
		}
	}
	switch {
	case r.tx == nil:
		return nil
	case r.failed:
		return r.v.fail(r.ctx, r.tx.Rollback())
	default:
		return r.v.fail(r.ctx, r.tx.Commit())
	}
}
