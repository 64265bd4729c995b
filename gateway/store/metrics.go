package store

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// scrapeTimeout bounds each query of a scrape: a database that hangs must not
// take the other metrics with it.
const scrapeTimeout = 2 * time.Second

// gauges are metrics that the database knows: each is one query per scrape.
// While the database is away they are absent.
type gauges struct {
	q    queries
	log  *slog.Logger
	all  []gauge
	reg  prometheus.Registerer
	regd []prometheus.Collector
}

type gauge struct {
	desc  *prometheus.Desc
	query string
	value func(n int64) float64
}

func count(n int64) float64 { return float64(n) }

// age is that of a time in milliseconds; 0 if there is none.
func age(n int64) float64 {
	if n == 0 {
		return 0
	}
	return max(time.Since(fromMillis(n)), 0).Seconds()
}

func newGauges(s *Store, reg prometheus.Registerer) (*gauges, error) {
	describe := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("wagent_"+name, help, nil, nil) }
	g := &gauges{q: s.q, log: s.log, reg: reg, all: []gauge{
		{describe("pending_confirmations", "Actions that wait for a person."), `SELECT COUNT(*) FROM actions WHERE status = 'pending'`, count},
		{
			describe("oldest_unanswered_seconds", "Age of the oldest message that a run has yet to answer; 0 if there is none."),
			`SELECT MIN(t) FROM (SELECT MIN(received_at) AS t FROM messages WHERE state = 'waiting' UNION ALL
				SELECT MIN((SELECT MIN(m.received_at) FROM messages m WHERE m.run = r.id AND m.run <> '' AND m.state = 'batched'))
				FROM runs r WHERE r.status IN ('pending', 'running')) AS oldest`, age,
		},
		{
			describe("oldest_unsent_seconds", "Age of the oldest message of ours that is still on its way to WhatsApp; 0 if there is none."),
			`SELECT MIN(t) FROM (SELECT MIN(created_at) AS t FROM sends WHERE state = 'ready' UNION ALL
				SELECT MIN(created_at) FROM sends WHERE state = 'claimed' UNION ALL
				SELECT MIN(created_at) FROM sends WHERE state = 'unknown' AND next_at > 0) AS oldest`, age,
		},
		{describe("deliveries_pending", "Webhook deliveries that are still to be made."), `SELECT COUNT(*) FROM deliveries WHERE state = 'pending'`, count},
		{describe("dead_letters", "Webhook deliveries that were given up."), `SELECT COUNT(*) FROM deliveries WHERE state = 'dead'`, count},
		{describe("webhooks_resting", "Webhooks that rest, or wait for their probe, since attempts only failed."), `SELECT COUNT(*) FROM webhooks WHERE rests_until > 0 AND active AND disabled = ''`, count},
		{describe("webhooks_paused", "Webhooks that a person paused."), `SELECT COUNT(*) FROM webhooks WHERE paused AND active AND disabled = ''`, count},
		{describe("webhooks_disabled", "Webhooks that wagent turned off, until a person turns them on again."), `SELECT COUNT(*) FROM webhooks WHERE disabled <> '' AND active AND deleted_at = 0`, count},
	}}
	if reg == nil {
		return g, nil
	}
	for _, c := range []prometheus.Collector{g, collectors.NewDBStatsCollector(s.db, "wagent")} {
		if err := reg.Register(c); err != nil {
			g.unregister()
			return nil, err
		}
		g.regd = append(g.regd, c)
	}
	return g, nil
}

func (g *gauges) unregister() {
	for _, c := range g.regd {
		g.reg.Unregister(c)
	}
	g.regd = nil
}

// Describe satisfies prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for i := range g.all {
		ch <- g.all[i].desc
	}
}

// Collect satisfies prometheus.Collector, which has no context.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	for i := range g.all {
		if m := g.sample(&g.all[i]); m != nil {
			ch <- m
		}
	}
}

func (g *gauges) sample(x *gauge) prometheus.Metric {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	n, err := one(ctx, g.q, scanInt, x.query)
	if err != nil {
		g.log.WarnContext(ctx, "sample gauge", "metric", x.desc.String(), "err", err)
		return nil
	}
	return prometheus.MustNewConstMetric(x.desc, prometheus.GaugeValue, x.value(n))
}
