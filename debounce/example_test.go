package debounce_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"wagent/debounce"
)

// server returns a client of a Redis in this process, and what ends both.
func server() (*redis.Client, func()) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		panic(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: m.Addr()})
	return rdb, func() { rdb.Close(); m.Close() }
}

// Three messages that follow one another closely are answered together. The
// README shows this from the first empty line on.
func Example() {
	rdb, end := server()
	defer end()

	d, err := debounce.New(rdb, debounce.Config{
		Shards: 16, Lease: 30 * time.Second, Concurrency: 64, Prefix: "hotel",
	}, slog.New(slog.NewTextHandler(os.Stderr, nil)), nil)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := debounce.Window{Quiet: 50 * time.Millisecond, MaxWait: time.Minute, MaxItems: 20}
	for _, text := range []string{"hello", "is anybody there?", "I need towels", "hello"} {
		if err := d.Add(ctx, "hotel", "guest of room 12", text, w); err != nil {
			fmt.Println(err) // nobody knows whether it was added: add it again
		}
	}
	err = d.Run(ctx, func(_ context.Context, b debounce.Batch) error {
		fmt.Printf("%s: %q\n", b.Key, b.Items)
		stop() // Run goes on until its context ends
		return nil
	})
	fmt.Println(err)
	// Output:
	// guest of room 12: ["hello" "is anybody there?" "I need towels"]
	// <nil>
}

// open returns a Debouncer on a Redis in this process, and what ends both.
func open() (*debounce.Debouncer, func()) {
	rdb, end := server()
	d, err := debounce.New(rdb, debounce.Config{
		Shards: 16, Lease: 30 * time.Second, Concurrency: 64, Prefix: "example", Drain: time.Second,
	}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		panic(err)
	}
	return d, end
}

// What failed comes again, and what came meanwhile stays behind it.
func ExampleDebouncer_Run_error() {
	d, end := open()
	defer end()
	ctx, stop := context.WithCancel(context.Background())

	if err := d.Add(ctx, "hotel", "guest", "first", debounce.Window{}); err != nil {
		fmt.Println(err)
	}
	err := d.Run(ctx, func(ctx context.Context, b debounce.Batch) error {
		fmt.Printf("attempt %d: %q\n", b.Attempt, b.Items)
		switch {
		case b.Items[0] == "second":
			stop()
		case b.Attempt == 1:
			return errors.Join(errors.New("the model is busy"), d.Add(ctx, "hotel", "guest", "second", debounce.Window{}))
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// attempt 1: ["first"]
	// attempt 2: ["first"]
	// attempt 1: ["second"]
	// <nil>
}

// A command ends the wait at once.
func ExampleDebouncer_Flush() {
	d, end := open()
	defer end()
	ctx, stop := context.WithCancel(context.Background())

	w := debounce.Window{Quiet: time.Hour}
	for _, item := range []string{"one more thing", "/send"} {
		if err := d.Add(ctx, "hotel", "guest", item, w); err != nil {
			fmt.Println(err)
		}
	}
	if err := d.Flush(ctx, "guest"); err != nil {
		fmt.Println(err)
	}
	err := d.Run(ctx, func(_ context.Context, b debounce.Batch) error {
		fmt.Printf("%q\n", b.Items)
		stop()
		return nil
	})
	fmt.Println(err)
	// Output:
	// ["one more thing" "/send"]
	// <nil>
}
