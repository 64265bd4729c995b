package lua

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Claimed is the answer of Claim.
type Claimed struct {
	Next    time.Duration // until the shard has something due; negative: nothing waits
	At      time.Time     // by Redis's clock
	Expired int64         // leases that had ended
	Rows    []Row
}

// A Row is a batch that was claimed.
type Row struct {
	Key, Group string
	Items      []string
	First      int64 // generation of its first claim
	Generation int64
	Attempt    int64
	Recalls    int64
	Opened     time.Time
	Due        time.Time
}

// ReadClaim reads the answer of Claim.
func ReadClaim(cmd *redis.Cmd) (c Claimed, err error) {
	out, err := cmd.Slice()
	if err != nil {
		return c, err
	}
	if len(out) < 3 {
		return c, fmt.Errorf("the script answered %d values, not 3 and more", len(out))
	}
	var head [3]int64
	for i := range head {
		n, ok := out[i].(int64)
		if !ok {
			return c, fmt.Errorf("value %d of the script's answer is a %T", i, out[i])
		}
		head[i] = n
	}
	c = Claimed{Next: time.Duration(head[0]) * time.Microsecond, At: time.UnixMicro(head[1]), Expired: head[2], Rows: make([]Row, len(out)-3)}
	for i, v := range out[3:] {
		if c.Rows[i], err = row(v); err != nil {
			return c, err
		}
	}
	return c, nil
}

func row(v any) (r Row, err error) {
	vs, ok := v.([]any)
	if !ok || len(vs) < 4 {
		return r, fmt.Errorf("a batch is a %T of %d values, not 4 and more", v, len(vs))
	}
	for _, v := range vs {
		if _, ok := v.(string); !ok {
			return r, fmt.Errorf("a value of a batch is a %T", v)
		}
	}
	r.Key, r.Group = vs[0].(string), vs[2].(string)
	var cut, opened, due, recalled int64
	about := vs[1].(string)
	for _, n := range []*int64{&cut, &r.Generation, &recalled, &r.Recalls, &r.First, &opened, &due, &r.Attempt} {
		var word string
		word, about, _ = strings.Cut(about, " ")
		if *n, err = strconv.ParseInt(word, 10, 64); err != nil {
			return r, fmt.Errorf("read batch: %w", err)
		}
	}
	if r.First == 0 {
		r.First = r.Generation
	}
	r.Opened, r.Due = time.UnixMicro(opened), time.UnixMicro(due)
	r.Items = make([]string, len(vs)-3)
	for i, v := range vs[3:] {
		if r.Items[i], ok = strings.CutPrefix(v.(string), "="); !ok {
			return r, fmt.Errorf("field %q of a batch is no item", v)
		}
	}
	return r, nil
}

// ReadBeat reads the answer of Beat: the processes at work, and the layouts.
func ReadBeat(cmd *redis.Cmd) (members, layouts []string, err error) {
	out, err := cmd.Slice()
	if err != nil {
		return nil, nil, err
	}
	if len(out) != 2 {
		return nil, nil, fmt.Errorf("the script answered %d values, not 2", len(out))
	}
	return texts(out[0]), texts(out[1]), nil
}

// texts reads a list of strings.
func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
