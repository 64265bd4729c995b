package storetest_test

import (
	"cmp"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// used is the usage of a period, in order.
func used(t *testing.T, s *store.Store, from, until time.Time) []gateway.UsageRow {
	t.Helper()
	rows := got(s.Usage(t.Context(), from, until))(t)
	slices.SortFunc(rows, func(a, b gateway.UsageRow) int {
		return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Agent, b.Agent))
	})
	return rows
}

func TestUsageIsCountedByDayAccountAndAgent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		first := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
		second, third := first.AddDate(0, 0, 1), first.AddDate(0, 0, 2)
		on := func(at time.Time, m gateway.Arrival) gateway.Arrival { m.ReceivedAt = at; return m }
		history := on(first, from(sandbox, alice, "wamid.h"))
		history.Origin, history.State = gateway.OriginHistory, gateway.StateIgnored
		add(t, s,
			on(first.Add(-time.Millisecond), from(sandbox, alice, "wamid.0")),
			on(first, from(sandbox, alice, "wamid.1")),
			on(second.Add(-time.Millisecond), from(sandbox, alice, "wamid.2")),
			on(second, from(sandbox, alice, "wamid.3")), on(second, from(cloud, bob, "wamid.4")),
			on(third, from(sandbox, alice, "wamid.5")),
			history, on(first, echo(sandbox, alice, "wamid.e")))
		agents := got(s.Agents(t.Context()))(t)
		run := func(at time.Time, in, out int) {
			t.Helper()
			r := gateway.Run{Agent: agents[0].ID, Trigger: gateway.TriggerAPI, Input: json.RawMessage(`{}`), Status: gateway.RunPending}
			must(t, s.CreateRun(t.Context(), &r))
			rs, _, err := s.ClaimRuns(t.Context(), 1, time.Minute)
			must(t, err)
			f := gateway.Finish{Run: rs[0]}
			f.Run.Status, f.Run.StopReason, f.Run.InputTokens, f.Run.OutputTokens, f.Run.CompletedAt = gateway.RunCompleted, gateway.StopEndTurn, in, out, at
			must(t, s.FinishRun(t.Context(), &f))
		}
		run(first.Add(-time.Millisecond), 7, 7)
		run(first, 100, 10)
		run(second, 200, 20)
		run(third.Add(-time.Millisecond), 300, 30)
		run(third, 7, 7)
		equal(t, "usage", used(t, s, first, third), []gateway.UsageRow{
			{Day: first, Agent: agents[0].ID, Runs: 1, InputTokens: 100, OutputTokens: 10},
			{Day: first, Account: sandbox, Received: 2},
			{Day: second, Agent: agents[0].ID, Runs: 2, InputTokens: 500, OutputTokens: 50},
			{Day: second, Account: cloud, Received: 1},
			{Day: second, Account: sandbox, Received: 1},
		})
	})
}

func TestUsageCountsWhatWeSend(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		today := time.Now().UTC().Truncate(24 * time.Hour)
		sent(t, s, sandbox, alice, "wamid.1")
		rows := used(t, s, today.AddDate(0, 0, -1), today.AddDate(0, 0, 2)) // midnight may be now
		received, out, runs := 0, 0, 0
		for _, r := range rows {
			received, out, runs = received+r.Received, out+r.Sent, runs+r.Runs
		}
		if received != 1 || out != 1 {
			t.Errorf("%d received, %d sent in %+v", received, out, rows)
		}
		if runs != 1 {
			t.Errorf("%d runs", runs)
		}
	})
}

func TestTrafficIsOfTheMessagesSinceThen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		since := time.Now().Add(-time.Hour)
		equal(t, "of no messages", got(s.Traffic(t.Context(), since))(t), gateway.Traffic{})
		old := from(cloud, alice, "wamid.old")
		old.ReceivedAt, old.State = since.Add(-time.Minute), gateway.StateIgnored
		add(t, s, old, echo(cloud, alice, "wamid.echo"))
		sent(t, s, cloud, alice, "wamid.1")
		x := claimOne(t, s)
		settle(t, s, x, gateway.SendAccepted, "wamid.out")
		must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{
			{Account: cloud, ExternalID: "wamid.out", Status: gateway.StatusDelivered, At: time.Now().Add(time.Minute)},
		}))
		sent(t, s, cloud, bob, "wamid.2")
		settle(t, s, claimOne(t, s), gateway.SendRefused, "")
		sent(t, s, cloud, alice, "wamid.3") // queued: neither sent nor failed
		want := gateway.Traffic{Messages: 6, Sent: 1, Failed: 1}
		equal(t, "traffic", got(s.Traffic(t.Context(), since))(t), want, cmpopts.IgnoreFields(gateway.Traffic{}, "Latency"))
	})
}
