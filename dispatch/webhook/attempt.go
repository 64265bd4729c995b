package webhook

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"wagent/dispatch/webhook/answer"
	"wagent/dispatch/webhook/post"
	"wagent/gateway"
)

// fly makes the attempt.
func (d *Deliverer) fly(ctx context.Context, f *flight) {
	d.metrics.begun(&f.delivery, f.at)
	a := d.client.Post(ctx, &f.hook, &f.delivery, f.at)
	took := time.Since(f.at)
	d.metrics.attempt.WithLabelValues(kind(&a)).Observe(took.Seconds())
	f.answer, f.attempt = a, gateway.Attempt{
		Delivery: f.delivery.ID, Number: f.delivery.Attempt + 1, At: f.at, Latency: took,
		StatusCode: a.Status, Error: a.Failure, Answer: a.Body, Phases: a.Phases, Headers: a.Headers,
	}
	if f.delivery.Event == gateway.EventAction && a.OK() {
		var ignored []string
		f.said, ignored = answer.Read(&f.delivery, a.Whole, post.Hiding(&f.hook, post.Secretive))
		for _, why := range ignored {
			d.metrics.answers.WithLabelValues(answerIgnored).Inc()
			d.log.InfoContext(ctx, "part of an endpoint's answer ignored", "delivery", f.delivery.ID, "webhook", f.hook.ID, "reason", why)
		}
	}
	f.answer.Whole = nil // it may wait long for the database
}

// kind is the label of an attempt's metric.
func kind(a *post.Answer) string {
	switch {
	case a.OK():
		return attemptSucceeded
	case a.TimedOut:
		return attemptTimeout
	case a.Failure != "":
		return attemptFailed
	default:
		return attemptRefused
	}
}

// judge turns an attempt's result into the delivery's next state. moved: it was where
// the webhook is not any more.
func (d *Deliverer) judge(f *flight, moved bool, now time.Time) {
	del, a := &f.delivery, &f.answer
	del.Attempt++
	tries := del.Attempt - del.Replayed // since a person replayed it last
	switch {
	case a.OK():
		del.State, f.outcome = gateway.DeliverySucceeded, outcomeSucceeded
	case a.Status == http.StatusGone && !moved:
		del.State, f.outcome = gateway.DeliveryDead, outcomeDisabled
	case tries > len(d.cfg.Schedule), del.Event == gateway.EventTest: // a person looks on
		del.State, f.outcome = gateway.DeliveryDead, outcomeDead
	default:
		wait := jitter(d.cfg.Schedule[max(tries, 1)-1])
		del.State, f.outcome = gateway.DeliveryPending, outcomeRetried
		del.NextAt = now.Add(max(wait, a.RetryAfter))
	}
}

// report counts and logs an attempt that is on record.
func (d *Deliverer) report(ctx context.Context, f *flight) {
	del, a := &f.delivery, &f.attempt
	if !f.stands {
		d.log.InfoContext(ctx, "delivery ended otherwise, or is in other hands", "delivery", del.ID, "webhook", del.Webhook, "attempt", a.Number)
		return
	}
	d.metrics.deliveries.WithLabelValues(f.outcome).Inc()
	d.countAnswer(&f.said)
	if f.outcome == outcomeSucceeded {
		d.metrics.delivery.Observe(time.Since(del.CreatedAt).Seconds())
	}
	level := slog.LevelInfo
	if del.State == gateway.DeliveryDead {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("delivery", string(del.ID)), slog.Int64("webhook", del.Webhook), slog.String("host", hostOf(f.hook.URL)),
		slog.String("event", del.Event), slog.String("run", string(del.Run)), slog.String("conversation", string(del.Conversation)),
		slog.Int("attempt", a.Number), slog.String("outcome", f.outcome), slog.Int("status", a.StatusCode),
		slog.Duration("latency", a.Latency), slog.String("reason", a.Error),
	}
	if del.State == gateway.DeliveryPending {
		attrs = append(attrs, slog.Time("next_at", del.NextAt))
	}
	d.log.LogAttrs(ctx, level, "delivery attempt", attrs...)
	if f.disable != "" {
		d.metrics.disabled.Inc()
		d.log.WarnContext(ctx, "webhook turned off", "webhook", f.hook.ID, "host", hostOf(f.hook.URL), "reason", f.disable)
	}
}

// hostOf is the part of a URL that a log may show.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}
