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
	if !ok || len(vs) != 7 {
		return r, fmt.Errorf("a batch of %d values is a %T", len(vs), v)
	}
	fields, ok := vs[6].([]any)
	if !ok {
		return r, fmt.Errorf("the fields of a window are a %T", vs[6])
	}
	var ss [6]string
	for i := range ss {
		if ss[i], ok = vs[i].(string); !ok {
			return r, fmt.Errorf("value %d of a batch is a %T", i, vs[i])
		}
	}
	r.Key = ss[0]
	var opened, due, base, cut int64
	about := strings.Join([]string{ss[2], ss[1], ss[3], ss[4], ss[5]}, " ")
	for _, n := range []*int64{&r.First, &opened, &due, &r.Attempt, &r.Generation, &r.Recalls, &base, &cut} {
		var word string
		word, about, _ = strings.Cut(about, " ")
		if *n, err = strconv.ParseInt(word, 10, 64); err != nil {
			return r, fmt.Errorf("read batch: %w", err)
		}
	}
	r.Opened, r.Due = time.UnixMicro(opened), time.UnixMicro(due)
	r.Items, r.Group, err = items(fields, base, cut)
	return r, err
}

// items returns the items of a window that are numbered after base and up to
// cut, in their order, and the group.
func items(fields []any, base, cut int64) (in []string, group string, err error) {
	if base < 0 || cut < base || cut-base > int64(len(fields)) {
		return nil, "", fmt.Errorf("a window of %d fields has no items from %d to %d", len(fields), base, cut)
	}
	in = make([]string, cut-base)
	found := 0
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].(string)
		value, _ := fields[i+1].(string)
		item, ok := strings.CutPrefix(name, "=")
		switch {
		case name == "group":
			group = value
		case ok:
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return nil, "", fmt.Errorf("read number of an item: %w", err)
			}
			if base < n && n <= cut {
				in[n-base-1] = item
				found++
			}
		}
	}
	if found != len(in) {
		return nil, "", fmt.Errorf("a window has %d of the items from %d to %d", found, base, cut)
	}
	return in, group, nil
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
