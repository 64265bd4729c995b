package debounce

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/agenda"
	"wagent/debounce/combine"
	"wagent/debounce/lua"
)

// A layout is a way of spreading keys over shards. Redis keeps the list of them,
// the newest last. A key that an older one has stays there until it holds no
// items any more; then it belongs to the next. So the number of shards may
// change at any time, by a process that is started with another one.
type layout struct {
	id     string
	shards []*shard
}

// A shard is a set of keys that lie in one slot of a cluster.
type shard struct {
	name    string // the same for all processes: <layout>.<number>
	prefix  string // of its keys
	adds    *combine.Combiner[*adding]
	settles *combine.Combiner[*settling]

	agenda.Entry
	failures int  // one after another; the loop's, as is more
	more     bool // the last claim left something due
}

// keys returns KEYS of a script: gen and others.
func (s *shard) keys(more ...string) []string {
	keys := make([]string, 1, len(more)+1)
	keys[0] = s.prefix + "gen"
	for _, k := range more {
		keys = append(keys, s.prefix+k)
	}
	return keys
}

func (l *layout) String() string { return l.id + " " + strconv.Itoa(len(l.shards)) }

func (l *layout) shard(key string) *shard {
	return l.shards[crc32.ChecksumIEEE([]byte(key))%uint32(len(l.shards))]
}

// A board is what is known of the layouts. It is not changed once it is there.
type board struct {
	chain  []*layout // never empty
	shards []*shard  // of all of them
	byName map[string]*shard
}

func (b *board) newest() *layout { return b.chain[len(b.chain)-1] }

// layouts keeps the board up to date, and this process on the list of those at
// work.
type layouts struct {
	board atomic.Pointer[board] // nil until Redis was asked
	asked atomic.Int64          // when it last was, in nanoseconds since 1970

	asking chan struct{} // holds a token while Redis is asked, which guards the rest
	id     string        // of the process
	atWork int           // processes, ourselves included
	rank   int           // our place among them
}

// away is how long a process that has gone silent counts as at work, and beat
// how often it says that it is; both follow from the lease, lest a batch wait for
// somebody to look at its shard.
func (c *Config) away() time.Duration { return 5 * c.beat() / 2 }

func (c *Config) beat() time.Duration { return min(5*time.Second, c.Lease/6) }

// known returns the board. It asks Redis where that was never done, and where
// nobody else keeps the board up to date since Run is not at work; then only one
// caller waits for the answer.
func (d *Debouncer) known(ctx context.Context) (*board, error) {
	l := &d.layouts
	b := l.board.Load()
	if b != nil && (d.running.Load() || time.Since(time.Unix(0, l.asked.Load())) < d.cfg.beat()) {
		return b, nil
	}
	if b != nil {
		select {
		case l.asking <- struct{}{}:
		default:
			return b, nil
		}
	} else if err := l.turn(ctx); err != nil {
		return nil, err
	}
	defer func() { <-l.asking }()
	if now := l.board.Load(); now != b { // somebody asked while we waited
		return now, nil
	}
	if _, err := d.ask(ctx, asking, b); err != nil {
		return nil, err
	}
	return l.board.Load(), nil
}

// turn waits for the token. Redis may be slow to answer whoever has it.
func (l *layouts) turn(ctx context.Context) error {
	select {
	case l.asking <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ask for the shards: %w", ctx.Err())
	}
}

// The words of beat for a process that only asks, and one that leaves.
const (
	asking  = ""
	leaving = "0"
)

// beat asks for the layouts, and tells how long we count as at work. It reports
// whether there is anything new.
func (d *Debouncer) beat(ctx context.Context, counts string) (news bool, err error) {
	if err := d.layouts.turn(ctx); err != nil {
		return false, err
	}
	defer func() { <-d.layouts.asking }()
	known := d.layouts.board.Load()
	if counts == asking { // for it was told that what it knows is drained
		known = nil
	}
	return d.ask(ctx, counts, known)
}

// ask is beat for who has the token. A layout that is known, and that Redis does
// not have any more, is there again afterwards.
func (d *Debouncer) ask(ctx context.Context, counts string, knows *board) (news bool, err error) {
	l := &d.layouts
	known, insist := "", 1
	before := l.board.Load()
	if before != nil {
		insist = 0 // once in a life: processes that differ would go on for ever
	}
	if knows != nil {
		known = knows.newest().String()
	}
	members, lines, err := lua.ReadBeat(lua.Beat.Run(ctx, d.rdb, []string{d.control("members"), d.control("layouts")},
		l.id, counts, known, rand.Text()[:8], d.cfg.Shards, insist, d.channel()))
	if err != nil {
		return false, fmt.Errorf("ask for the shards: %w", err)
	}
	slices.Sort(members) // all processes count in the same order
	now, err := d.read(before, lines)
	if err != nil {
		return false, fmt.Errorf("ask for the shards: %w", err)
	}
	rank := max(0, slices.Index(members, l.id))
	atWork := max(1, len(members))
	news = now != before || rank != l.rank || atWork != l.atWork
	l.rank, l.atWork = rank, atWork
	for i, s := range now.shards {
		s.Mine.Store(i%atWork == rank)
	}
	l.board.Store(now)
	l.asked.Store(time.Now().UnixNano())
	return news, nil
}

// read makes a board of the list of layouts. What stays is taken from the board
// before, which is returned itself if nothing changed.
func (d *Debouncer) read(before *board, lines []string) (*board, error) {
	if before != nil && slices.EqualFunc(before.chain, lines, func(l *layout, s string) bool { return l.String() == s }) {
		return before, nil
	}
	now := &board{byName: map[string]*shard{}}
	for _, line := range lines {
		id, number, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > mostShards {
			return nil, fmt.Errorf("%q is no layout", line)
		}
		now.chain = append(now.chain, d.layout(before, id, n))
	}
	if len(now.chain) == 0 {
		return nil, errors.New("there is no layout")
	}
	for _, l := range now.chain {
		now.shards = append(now.shards, l.shards...)
	}
	for _, s := range now.shards {
		now.byName[s.name] = s
	}
	return now, nil
}

func (d *Debouncer) layout(before *board, id string, n int) *layout {
	if before != nil {
		for _, l := range before.chain {
			if l.id == id && len(l.shards) == n {
				return l
			}
		}
	}
	l := &layout{id: id, shards: make([]*shard, n)}
	for i := range l.shards {
		l.shards[i] = d.newShard(id + "." + strconv.Itoa(i))
	}
	return l
}

func (d *Debouncer) newShard(name string) *shard {
	s := &shard{name: name, prefix: "{" + d.cfg.Prefix + ":" + name + "}:", adds: d.adds, settles: d.settles}
	if d.cluster { // a node that is slow holds up nobody else's
		s.adds = &combine.Combiner[*adding]{Exec: d.sendAdds, Most: pipelineMost, Wide: 1}
		s.settles = &combine.Combiner[*settling]{Exec: d.sendSettles, Most: settleMost, Wide: 1}
	}
	return s
}

// control names a key that is not a shard's.
func (d *Debouncer) control(name string) string { return "{" + d.cfg.Prefix + "}:" + name }

// drain closes the shards of the older layouts, and takes those off the list
// that hold nothing any more. It reports whether the list changed.
func (d *Debouncer) drain(ctx context.Context) (news bool, err error) {
	b := d.layouts.board.Load()
	for _, l := range b.chain[:len(b.chain)-1] {
		held := make([]*redis.IntCmd, len(l.shards))
		_, err := d.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, s := range l.shards { // in this order: what is empty once it is closed stays so
				pipe.SetNX(ctx, s.prefix+"closed", b.newest().String(), 0)
				held[i] = pipe.Exists(ctx, s.prefix+"heads", s.prefix+"ring", s.prefix+"lease")
			}
			return nil
		})
		if err != nil {
			return news, fmt.Errorf("close shards and look whether they are empty: %w", err)
		}
		keys := int64(0)
		for _, n := range held {
			keys += n.Val()
		}
		if keys > 0 {
			continue
		}
		if err := d.rdb.LRem(ctx, d.control("layouts"), 0, l.String()).Err(); err != nil {
			return news, fmt.Errorf("take a layout off the list: %w", err)
		}
		d.log.InfoContext(ctx, "the windows of an older number of shards are done", "shards", len(l.shards))
		news = true
	}
	return news, nil
}

// attend keeps us on the list of those at work until ctx is done, and the board
// up to date.
func (d *Debouncer) attend(ctx context.Context) {
	counts := strconv.FormatInt(d.cfg.away().Microseconds(), 10)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures, first := 0, true
	for {
		select {
		case <-ctx.Done():
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleGrace)
			defer cancel()
			_, _ = d.beat(leave, leaving) // or else they find out by themselves
			return
		case <-timer.C:
		case <-d.poke:
		}
		news, err := d.beat(ctx, counts)
		if err == nil {
			d.planNews(news || first)
			first = false
			if len(d.layouts.board.Load().chain) > 1 {
				var drained bool
				if drained, err = d.drain(ctx); drained {
					news, err = d.beat(ctx, counts)
					d.planNews(news)
				}
			}
		}
		if err != nil {
			d.outage.Failed(ctx, "layouts", err)
			timer.Reset(min(doubled(retryFirst, failures, retryMost), d.cfg.beat()))
			failures++
			continue
		}
		d.outage.OK(ctx, "layouts")
		failures = 0
		timer.Reset(d.cfg.beat())
	}
}

// planNews has Run look at all shards, where there are others than it knows of.
func (d *Debouncer) planNews(news bool) {
	if b := d.layouts.board.Load(); news {
		d.outage.Keep(func(name string) bool { return !strings.Contains(name, ".") || b.byName[name] != nil })
		d.planAll(b.shards)
	}
}

// news has attend ask again. It never blocks.
func (d *Debouncer) news() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}
