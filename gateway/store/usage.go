package store

import (
	"context"
	"time"

	"wagent/gateway"
)

// ofOurs is true of messages that count as used: not of what a history sync
// brought, nor of what people wrote on their phones.
const ofOurs = `origin NOT IN ('history', 'echo')`

// Usage returns what was done from a time on and before another, by day in UTC,
// account and agent, in no order. Messages count when they were recorded, runs
// when they ended. A run that ended before it had an agent does not count: no
// model was asked.
func (s *Store) Usage(ctx context.Context, from, until time.Time) ([]gateway.UsageRow, error) {
	messages, err := list(ctx, s.q, func(r row) (gateway.UsageRow, error) {
		var u gateway.UsageRow
		var day int64
		err := r.Scan(&day, &u.Account, &u.Received, &u.Sent)
		u.Day = dayOf(day)
		return u, err
	}, `SELECT received_at / 86400000, account, CAST(SUM(CASE WHEN direction = 'in' THEN 1 ELSE 0 END) AS BIGINT),
			CAST(SUM(CASE WHEN direction = 'out' THEN 1 ELSE 0 END) AS BIGINT)
		FROM messages WHERE received_at >= $1 AND received_at < $2 AND `+ofOurs+` GROUP BY received_at / 86400000, account`, from, until)
	if err != nil {
		return nil, s.fail(err, "count messages")
	}
	// Agents first: of each, the runs of a period are found by an index. SQLite
	// takes a cross join as it is written.
	runs, err := list(ctx, s.q, func(r row) (gateway.UsageRow, error) {
		var u gateway.UsageRow
		var day int64
		err := r.Scan(&day, &u.Account, &u.Agent, &u.Runs, &u.InputTokens, &u.OutputTokens)
		u.Day = dayOf(day)
		return u, err
	}, `SELECT r.completed_at / 86400000, r.account, r.agent, COUNT(*), CAST(SUM(r.input_tokens) AS BIGINT), CAST(SUM(r.output_tokens) AS BIGINT)
		FROM agents a CROSS JOIN runs r WHERE r.agent = a.id AND r.completed_at > 0 AND r.completed_at >= $1 AND r.completed_at < $2
		GROUP BY r.completed_at / 86400000, r.account, r.agent`, from, until)
	return append(messages, runs...), s.fail(err, "count runs")
}

// dayOf is the time at which a day began, which is numbered from 1970 on.
func dayOf(n int64) time.Time { return time.Unix(n*24*60*60, 0).UTC() }

// Traffic returns what became of the messages that were recorded since a time.
func (s *Store) Traffic(ctx context.Context, since time.Time) (gateway.Traffic, error) {
	var t gateway.Traffic
	var delivered, waited int64
	_, err := one(ctx, s.q, func(r row) (struct{}, error) {
		return struct{}{}, r.Scan(&t.Messages, &t.Sent, &t.Failed, &delivered, &waited)
	}, `SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN direction = 'out' AND status IN ('sent', 'delivered', 'read') THEN 1 ELSE 0 END), 0) AS BIGINT),
			CAST(COALESCE(SUM(CASE WHEN direction = 'out' AND status = 'failed' THEN 1 ELSE 0 END), 0) AS BIGINT),
			CAST(COALESCE(SUM(CASE WHEN accepted_at > 0 AND delivered_at > 0 THEN 1 ELSE 0 END), 0) AS BIGINT),
			CAST(COALESCE(SUM(CASE WHEN accepted_at > 0 AND delivered_at > accepted_at THEN delivered_at - accepted_at ELSE 0 END), 0) AS BIGINT)
		FROM messages WHERE received_at >= $1 AND `+ofOurs, since)
	if delivered > 0 {
		t.Latency = time.Duration(waited/delivered) * time.Millisecond
	}
	return t, s.fail(err, "count messages")
}
