package devices_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
)

var errGremlin = errors.New("the disk is full")

// A gremlin sits between a Store and its driver, and fails one operation of any
// kind: a begin, a statement, a query, a row, a commit.
type gremlin struct {
	mu     sync.Mutex
	left   int // until the one that fails; 0: none will
	late   bool
	failed int
	hit    context.Context //nolint:containedctx // of the operation that failed
	seen   int
}

// arm makes the n-th operation from now fail: before it happens, or late, after
// it did.
func (g *gremlin) arm(n int, late bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.late, g.failed, g.hit = n, late, 0, context.Background()
}

// operations is how many there were.
func (g *gremlin) operations() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

// meddle does one operation, or not. One whose context has ended was given up,
// often by a connection that is gone: nobody hears of its failure.
func (g *gremlin) meddle(ctx context.Context, do func() error) error {
	if ctx.Err() != nil {
		return do()
	}
	g.mu.Lock()
	g.seen++
	late, hit := g.late, g.left == 1
	g.left = max(0, g.left-1)
	if hit {
		g.failed++
		g.hit = ctx
	}
	g.mu.Unlock()
	switch {
	case !hit:
		return do()
	case late:
		return errors.Join(errGremlin, do())
	default:
		return errGremlin
	}
}

func (g *gremlin) wrap(c driver.Connector) driver.Connector { return gremlinConnector{c, g} }

type gremlinConnector struct {
	driver.Connector
	g *gremlin
}

func (c gremlinConnector) Connect(ctx context.Context) (driver.Conn, error) {
	below, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &gremlinConn{below, c.g}, nil
}

type gremlinConn struct {
	driver.Conn
	g *gremlin
}

func (c *gremlinConn) CheckNamedValue(v *driver.NamedValue) error {
	if below, ok := c.Conn.(driver.NamedValueChecker); ok {
		return below.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *gremlinConn) ResetSession(ctx context.Context) error {
	if below, ok := c.Conn.(driver.SessionResetter); ok {
		return below.ResetSession(ctx)
	}
	return nil
}

func (c *gremlinConn) BeginTx(ctx context.Context, options driver.TxOptions) (tx driver.Tx, err error) {
	begun := false
	err = c.g.meddle(ctx, func() (err error) {
		tx, err = c.Conn.(driver.ConnBeginTx).BeginTx(ctx, options)
		begun = err == nil
		return err
	})
	if err != nil {
		if begun {
			_ = tx.Rollback()
		}
		return nil, err
	}
	return gremlinTx{tx, ctx, c.g}, nil
}

func (c *gremlinConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	err = c.g.meddle(ctx, func() (err error) {
		result, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return err
	})
	return result, err
}

func (c *gremlinConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	begun := false
	err = c.g.meddle(ctx, func() (err error) {
		rows, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		begun = err == nil
		return err
	})
	if err != nil {
		if begun {
			_ = rows.Close()
		}
		return nil, err
	}
	return gremlinRows{rows, ctx, c.g}, nil
}

type gremlinTx struct {
	driver.Tx
	ctx context.Context //nolint:containedctx // of its begin
	g   *gremlin
}

func (t gremlinTx) Commit() error {
	err := t.g.meddle(t.ctx, t.Tx.Commit)
	if err == errGremlin { //nolint:errorlint // it was not tried
		_ = t.Rollback()
	}
	return err
}

type gremlinRows struct {
	driver.Rows
	ctx context.Context //nolint:containedctx // of its query
	g   *gremlin
}

func (r gremlinRows) Next(dest []driver.Value) error {
	return r.g.meddle(r.ctx, func() error { return r.Rows.Next(dest) })
}
