package main

import (
	"database/sql"

	"wagent/gateway"
)

// watch has the database write down each end of a run, and each step of a send.
func (c *chaos) watch() {
	c.Helper()
	c.exec(`CREATE TABLE ends (run TEXT, generation BIGINT)`)
	c.exec(`CREATE TABLE steps (n BIGINT GENERATED ALWAYS AS IDENTITY, send TEXT, was TEXT, becomes TEXT, deadline BIGINT, at BIGINT)`)
	c.exec(`CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ends VALUES (NEW.id, NEW.generation); RETURN NEW; END $$`)
	c.exec(`CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO steps (send, was, becomes, deadline, at)
		VALUES (NEW.id, OLD.state, NEW.state, OLD.deadline, extract(epoch FROM clock_timestamp()) * 1000); RETURN NEW; END $$`)
	c.exec(`CREATE TRIGGER note_end AFTER UPDATE ON runs FOR EACH ROW WHEN (NEW.status IN ('completed', 'failed')) EXECUTE FUNCTION note_end()`)
	c.exec(`CREATE TRIGGER note_step AFTER UPDATE ON sends FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION note_step()`)
}

// A said is a message that came in, as it is on record.
type said struct {
	seq                     int64
	phone, text, state, run string
}

// said reads what came in, in its order.
func (c *chaos) said() []said {
	c.Helper()
	return read(c, func(rows *sql.Rows) (m said, err error) {
		err = rows.Scan(&m.seq, &m.phone, &m.text, &m.state, &m.run)
		return m, err
	}, `SELECT m.seq, t.phone, m.body, m.state, m.run FROM messages m JOIN conversations v ON v.id = m.conversation
		JOIN contacts t ON t.id = v.contact WHERE m.direction = 'in' ORDER BY m.seq`)
}

// A reply is a run, with its send.
type reply struct {
	seq                int64
	id, phone, status  string
	account            gateway.AccountID
	claims, superseded int
	created, completed int64
	ends               int    // as they were seen
	words              []said // of its messages
	sends, unknowns    int    // its sends, and how many attempts ended unknown
	send, state, text  string // of the last of them
	reached            int    // how often the customer got it
}

// answers reads the runs, in their order.
func (c *chaos) answers() []*reply {
	c.Helper()
	return read(c, func(rows *sql.Rows) (*reply, error) {
		a := &reply{}
		err := rows.Scan(&a.seq, &a.id, &a.phone, &a.account, &a.status, &a.claims, &a.superseded, &a.created, &a.completed, &a.ends,
			&a.sends, &a.unknowns, &a.send, &a.state, &a.text)
		return a, err
	}, `SELECT r.seq, r.id, t.phone, r.account, r.status, r.generation, r.supersedes, r.created_at, r.completed_at, (SELECT count(*) FROM ends e WHERE e.run = r.id),
		count(s.id), coalesce(sum(s.unknowns), 0), coalesce(max(s.id), ''), coalesce(max(s.state), ''), coalesce(max(s.body), '')
		FROM runs r JOIN conversations v ON v.id = r.conversation JOIN contacts t ON t.id = v.contact
		LEFT JOIN sends s ON s.origin_id = r.id GROUP BY r.seq, r.id, t.phone, r.account, r.status, r.generation, r.supersedes, r.created_at, r.completed_at ORDER BY r.seq`)
}

// A step is a change of a send's state.
type step struct {
	send, was, becomes, conversation string
	seq, deadline, at                int64
}

// steps reads all of them, in their order.
func (c *chaos) steps() []step {
	c.Helper()
	return read(c, func(rows *sql.Rows) (x step, err error) {
		err = rows.Scan(&x.send, &x.was, &x.becomes, &x.conversation, &x.seq, &x.deadline, &x.at)
		return x, err
	}, `SELECT p.send, p.was, p.becomes, s.conversation, s.seq, p.deadline, p.at FROM steps p JOIN sends s ON s.id = p.send ORDER BY p.n`)
}

func read[T any](c *chaos, scan func(*sql.Rows) (T, error), query string) (out []T) {
	c.Helper()
	rows, err := c.db.QueryContext(c.Context(), query)
	if err != nil {
		c.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			c.Fatal(err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		c.Fatal(err)
	}
	return out
}
