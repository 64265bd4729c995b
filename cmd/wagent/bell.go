package main

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A bell lets replicas tell each other that something is to be looked at now:
// the one that holds a WhatsApp account learns of sends, pairings and runs that
// another one made, and the one that delivers to a webhook of what is to be
// delivered. It carries no state. What is not heard is found a few seconds later by
// whoever looks at SQL anyway.
type bell struct {
	rdb     redis.UniversalClient
	channel string
	self    string // whose own rings are not heard
	log     *slog.Logger

	once    sync.Once
	mu      sync.Mutex // guards pending
	pending []string
	some    chan struct{}
}

// The things that replicas tell each other.
const (
	ringSends = "sends" // the outbox has something to send
	ringLinks = "links" // a link or a pairing changed
	ringWork  = "work"  // a run is being answered: its account and id
	ringRest  = "rest"  // it is not any more
	ringHooks = "hooks" // something is to be delivered: to which webhooks; none: they changed
)

// ringWebhooks tells of webhooks; a nil bell, nobody.
func (b *bell) ringWebhooks(ids ...int64) {
	if b == nil {
		return
	}
	about := make([]string, len(ids))
	for i, id := range ids {
		about[i] = strconv.FormatInt(id, 10)
	}
	b.ring(ringHooks, strings.Join(about, ","))
}

// webhooksOf reads what ringWebhooks told of.
func webhooksOf(about string) (ids []int64) {
	for text := range strings.SplitSeq(about, ",") {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// mostRings bounds what waits for a Redis that is away.
const mostRings = 1000

func (b *bell) init() { b.once.Do(func() { b.some = make(chan struct{}, 1) }) }

// ring tells the other replicas. It never blocks.
func (b *bell) ring(what, about string) {
	b.init()
	text := what + " " + about
	b.mu.Lock()
	if len(b.pending) < mostRings && (len(b.pending) == 0 || b.pending[len(b.pending)-1] != text) {
		b.pending = append(b.pending, text)
	}
	b.mu.Unlock()
	select {
	case b.some <- struct{}{}:
	default:
	}
}

// Run passes rings on and calls hear with those of others, until ctx is done.
func (b *bell) Run(ctx context.Context, hear func(what, about string)) error {
	b.init()
	sub := b.rdb.Subscribe(ctx, b.channel)
	defer func() { _ = sub.Close() }()
	heard := sub.Channel(redis.WithChannelHealthCheckInterval(10 * time.Second))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.some:
			b.publish(ctx)
		case m, ok := <-heard:
			if !ok {
				return nil
			}
			from, text, _ := strings.Cut(m.Payload, " ")
			if what, about, _ := strings.Cut(text, " "); from != b.self {
				hear(what, about)
			}
		}
	}
}

func (b *bell) publish(ctx context.Context) {
	b.mu.Lock()
	all := b.pending
	b.pending = nil
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	pipe := b.rdb.Pipeline()
	for _, text := range all {
		pipe.Publish(ctx, b.channel, b.self+" "+text)
	}
	if _, err := pipe.Exec(ctx); err != nil && ctx.Err() == nil {
		b.log.DebugContext(ctx, "tell the other replicas; they find out by themselves", "err", err)
	}
}
