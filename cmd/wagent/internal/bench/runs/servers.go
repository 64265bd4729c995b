package runs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"wagent/cmd/wagent/internal/bench/machine"
)

// servers are the PostgreSQL and the Redis that are measured with.
type servers struct {
	database        string // the URL, with a schema of its own
	postgres, redis string // versions
	schema          string
	installation    string // of the program; empty: it never ran

	db         *pgx.Conn
	rdb        *redis.Client
	postmaster int // the process id of PostgreSQL's first process; 0: it is not of this machine
}

// postgresName is what PostgreSQL's processes are called.
const postgresName = "postgres"

// meet makes room in the database, and asks both who they are.
func meet(ctx context.Context, redisURL, database string) (s *servers, err error) {
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		return nil, errors.New("redis is no address, such as redis://127.0.0.1:6379") // the cause may quote a password
	}
	s = &servers{rdb: redis.NewClient(opts), schema: "wagent_bench_" + strings.ToLower(rand.Text()[:8])}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.leave(context.WithoutCancel(ctx)))
			s = nil
		}
	}()
	info, err := s.rdb.InfoMap(ctx, "server").Result()
	if err != nil {
		return s, fmt.Errorf("redis at %s can not be used: %w", opts.Addr, err)
	}
	s.redis = info["Server"]["redis_version"]
	u, err := url.Parse(database)
	if err != nil {
		return s, errors.New("database is no address, such as postgres://user@host/name") // the cause may quote a password
	}
	db, err := pgx.Connect(ctx, database)
	if err != nil {
		return s, fmt.Errorf("the database can not be used: %w", err) // its errors hide the password
	}
	s.db = db
	if _, err := db.Exec(ctx, `CREATE SCHEMA `+s.schema); err != nil {
		return s, fmt.Errorf("make a schema for the bench: %w", err)
	}
	query := u.Query()
	query.Set("search_path", s.schema)
	u.RawQuery = query.Encode()
	s.database = u.String()
	var backend int
	if err := db.QueryRow(ctx, `SELECT current_setting('server_version'), pg_backend_pid()`).Scan(&s.postgres, &backend); err != nil {
		return s, fmt.Errorf("ask the database who it is: %w", err)
	}
	if p, err := machine.Look(backend); err == nil && p.Name == postgresName {
		s.postmaster = p.Parent
	}
	return s, nil
}

// leave removes what the bench made and hangs up.
func (s *servers) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	if s.db != nil {
		_, err := s.db.Exec(ctx, `DROP SCHEMA IF EXISTS `+s.schema+` CASCADE`)
		errs = append(errs, err, s.db.Close(ctx))
	}
	if s.installation != "" {
		errs = append(errs, s.forget(ctx))
	}
	_ = s.rdb.Close()
	return errors.Join(errs...)
}

// forget removes the program's keys.
func (s *servers) forget(ctx context.Context) error {
	keys := s.rdb.Scan(ctx, 0, "*"+s.installation+"*", 1000).Iterator()
	for keys.Next(ctx) {
		if err := s.rdb.Unlink(ctx, keys.Val()).Err(); err != nil {
			return fmt.Errorf("remove the bench's keys: %w", err)
		}
	}
	return keys.Err()
}

// A mark is what was used until a moment.
type mark struct {
	at                               time.Time
	own, provider, postgres, redis   time.Duration // CPU
	machine                          time.Duration // of everybody; 0: not known
	answered                         int           // messages that have their reply
	transactions, statements, script int64         // of the database; of it, -1: not known; of Redis: commands
}

// mark asks how much was used until now.
func (s *session) mark(ctx context.Context) (m mark, err error) {
	m.at = time.Now()
	if m.own, err = machine.Own(); err != nil {
		return m, err
	}
	if m.provider, err = machine.Family(s.model.cmd.Process.Pid); err != nil {
		return m, err
	}
	if s.servers.postmaster != 0 {
		if m.postgres, err = machine.Family(s.servers.postmaster); err != nil {
			return m, err
		}
	}
	m.machine, m.answered = machine.CPU(), s.tape.answeredSoFar()
	return m, s.servers.ask(ctx, &m)
}

// ask has the servers tell what they did.
func (s *servers) ask(ctx context.Context, m *mark) error {
	info, err := s.rdb.InfoMap(ctx, "all").Result()
	if err != nil {
		return fmt.Errorf("ask Redis what it used: %w", err)
	}
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(info["CPU"][name], 64)
		if err != nil {
			return fmt.Errorf("read CPU of Redis: %w", err)
		}
		m.redis += time.Duration(seconds * float64(time.Second))
	}
	for _, name := range []string{"evalsha", "eval", "get"} { // what windows and memories are made of
		_, calls, _ := strings.Cut(info["Commandstats"]["cmdstat_"+name], "calls=")
		calls, _, _ = strings.Cut(calls, ",")
		n, _ := strconv.ParseInt(calls, 10, 64) // it was never called
		m.script += n
	}
	err = s.db.QueryRow(ctx, `SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()`).Scan(&m.transactions)
	if err != nil {
		return fmt.Errorf("ask the database what it did: %w", err)
	}
	m.statements = -1
	if err := s.db.QueryRow(ctx, `SELECT COALESCE(SUM(calls), 0)::bigint FROM pg_stat_statements`).Scan(&m.statements); err != nil {
		m.statements = -1 // it does not count them
	}
	return nil
}

// A spell is what was used between two marks.
type spell struct {
	mark
	took time.Duration
	runs int // that were answered meanwhile
	s    *servers
}

// since returns what was used since a mark, while Measured went by.
func (s *session) since(ctx context.Context, before mark) (spell, error) {
	now, err := s.mark(ctx)
	if err != nil {
		return spell{}, err
	}
	now.own -= before.own
	now.provider -= before.provider
	now.postgres -= before.postgres
	now.redis -= before.redis
	now.transactions -= before.transactions
	now.script -= before.script
	if before.statements >= 0 && now.statements >= 0 {
		now.statements -= before.statements
	} else {
		now.statements = -1
	}
	if now.machine > 0 {
		now.machine -= before.machine
	}
	return spell{mark: now, took: now.at.Sub(before.at), runs: max(1, now.answered-before.answered), s: s.servers}, nil
}

// cost tells what a run cost. Where the program keeps up, as many begin as end.
func (p *spell) cost() Spent {
	each := func(d time.Duration) float64 { return milliseconds(d) / float64(p.runs) }
	out := Spent{
		Own: each(p.own), Provider: each(p.provider), Redis: each(p.redis),
		Transactions: float64(p.transactions) / float64(p.runs), Commands: float64(p.script) / float64(p.runs),
		Seconds: p.took.Seconds(),
	}
	if p.s.postmaster != 0 {
		own := each(p.postgres)
		out.PostgreSQL = &own
	}
	if p.statements >= 0 {
		n := float64(p.statements) / float64(p.runs)
		out.Statements = &n
	}
	if p.machine > 0 && p.s.postmaster != 0 {
		others := max(0, (p.machine-p.own-p.provider-p.postgres-p.redis).Seconds()/p.took.Seconds())
		out.Others = &others
	}
	return out
}
