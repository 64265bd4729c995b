package windows

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/cmd/wagent/internal/bench/machine"
)

// A mark is what has been used until a moment.
type mark struct {
	calls    map[string]call // by command
	redis    time.Duration   // CPU of Redis
	own      time.Duration   // and of this process
	machine  time.Duration   // and of all on this machine; 0: not known
	memory   int64           // what Redis keeps, bytes
	rewrites int64           // of its append-only file, and snapshots
	at       time.Time
}

type call struct{ n, usec int64 }

// mark asks how much was used until now.
func (r *run) mark(ctx context.Context) (m mark, err error) {
	info, err := r.rdb.InfoMap(ctx, "all").Result()
	if err != nil {
		return m, fmt.Errorf("ask Redis what it used: %w", err)
	}
	m.calls = map[string]call{}
	for name, text := range info["Commandstats"] {
		var c call
		for field := range strings.SplitSeq(text, ",") {
			switch name, value, _ := strings.Cut(field, "="); name {
			case "calls":
				c.n, err = strconv.ParseInt(value, 10, 64)
			case "usec":
				c.usec, err = strconv.ParseInt(value, 10, 64)
			}
			if err != nil {
				return m, fmt.Errorf("read what %s took: %w", name, err)
			}
		}
		m.calls[strings.TrimPrefix(name, "cmdstat_")] = c
	}
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		s, err := strconv.ParseFloat(info["CPU"][name], 64)
		if err != nil {
			return m, fmt.Errorf("read CPU of Redis: %w", err)
		}
		m.redis += time.Duration(s * float64(time.Second))
	}
	number := func(section, name string) int64 { // older servers do not have them all
		n, _ := strconv.ParseInt(info[section][name], 10, 64)
		return n
	}
	m.memory = number("Memory", "used_memory") - number("Memory", "mem_clients_normal") - number("Memory", "mem_aof_buffer")
	m.rewrites = number("Persistence", "aof_rewrites") + number("Persistence", "rdb_saves")
	if m.own, err = machine.Own(); err != nil {
		return m, err
	}
	m.machine = machine.CPU()
	m.at = time.Now()
	return m, nil
}

// A spell is what was used between two marks.
type spell struct {
	mark
	took time.Duration
}

// since returns what was used since a mark.
func (r *run) since(ctx context.Context, before mark) (s spell, err error) {
	if s.mark, err = r.mark(ctx); err != nil {
		return s, err
	}
	s.took = s.at.Sub(before.at)
	for name, c := range before.calls {
		now := s.calls[name]
		s.calls[name] = call{now.n - c.n, now.usec - c.usec}
	}
	s.redis -= before.redis
	s.own -= before.own
	s.memory -= before.memory
	s.rewrites -= before.rewrites
	if s.machine > 0 {
		s.machine -= before.machine
	}
	return s, nil
}

// quiet returns what disturbed a measurement.
func (r *run) quiet(s spell) Quiet {
	q := Quiet{Rewrites: s.rewrites}
	if r.local && s.machine > 0 && s.took > 0 {
		others := max(0, (s.machine-s.own-s.redis).Seconds()/s.took.Seconds())
		q.Others = &others
	}
	return q
}

// scripts returns what scripts took, and how many commands were run inside of them.
func (s spell) scripts() (all call, inside int64) {
	for name, c := range s.calls {
		command, _, _ := strings.Cut(name, "|")
		switch {
		case isScript(command):
			all.n += c.n
			all.usec += c.usec
		case !connecting[command]:
			inside += c.n
		}
	}
	return all, inside
}

func isScript(command string) bool {
	return strings.EqualFold(command, "evalsha") || strings.EqualFold(command, "eval")
}

// connecting are the commands of connections, and those with which we measure.
var connecting = map[string]bool{
	"auth": true, "client": true, "command": true, "config": true, "hello": true, "info": true, "ping": true,
	"select": true, "slowlog": true, "subscribe": true, "unsubscribe": true,
}

// local reports whether a Redis is on this machine, as far as its address says.
func local(opts *redis.Options) bool {
	host, _, err := net.SplitHostPort(opts.Addr)
	if err != nil || opts.Network == "unix" {
		return true
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
