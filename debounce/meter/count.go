package meter

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Count returns how many windows of the shards with those prefixes wait, and how many
// batches are in flight, in one round trip to each node.
func Count(ctx context.Context, rdb redis.UniversalClient, prefixes []string) (waiting, inFlight int64, err error) {
	due, leases := make([]*redis.StringCmd, len(prefixes)), make([]*redis.IntCmd, len(prefixes))
	_, err = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, prefix := range prefixes {
			due[i] = p.HGet(ctx, prefix+"gen", "waiting")
			leases[i] = p.ZCard(ctx, prefix+"lease")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, 0, err
	}
	for i := range due {
		n, err := due[i].Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, 0, err
		}
		waiting += n
		inFlight += leases[i].Val()
	}
	return waiting, inFlight, nil
}
