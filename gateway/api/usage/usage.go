// Package usage is /api/v1/usage and /api/v1/usage/metrics: how much was done,
// and how well messages and linked devices do.
//
// The members are those of WhatsRB Cloud's published OpenAPI types. It sells
// plans, and we do not: the plan is always scale, its largest, limit and
// remaining are null, and nothing ever turns sending off. A day is one of UTC.
// business is what goes through the Cloud API and sandboxes, session what goes
// through linked devices. disconnect_rate_24h is the share of linked devices
// that were not connected without a break for the last 24 hours, those linked
// since among them; it and success_rate_24h lie between 0 and 1, and are null
// where there is nothing to count.
//
// Ours, which changes nothing where it is not asked for: with ?from= or ?to=, days
// as 2026-11-26 of which both count, /usage also tells what was done in that
// period: in all, by day or with ?group_by=month by month, by account and by
// agent. Runs count on the day that they end. An account or agent that did
// nothing is not listed; a day is.
//
// Both are about all accounts together: what mounts these routes is to keep keys
// that are limited to accounts out of them. Nothing is kept here.
package usage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// API serves the usage. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	Records  Records
	Accounts Accounts
}

// Records are what is counted.
type Records interface {
	// Usage returns what was done from a time on and before another, by day in
	// UTC, account and agent, in any order.
	Usage(ctx context.Context, from, until time.Time) ([]gateway.UsageRow, error)
	// Traffic returns what became of the messages since a time.
	Traffic(ctx context.Context, since time.Time) (gateway.Traffic, error)
}

// Accounts are all that there are.
type Accounts interface {
	// Account returns one, or an Error of kind NotFound. It knows those that are
	// not in use any more.
	Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error)
	// Links returns how the accounts in use that are linked devices stand.
	Links(ctx context.Context) ([]gateway.Link, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Records == nil:
		return errors.New("usage: no Records")
	case h.Accounts == nil:
		return errors.New("usage: no Accounts")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits times; errors are left to the server's
// error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	g.GET("/usage", h.summary)
	g.GET("/usage/metrics", h.metrics)
}

type (
	summaryBody struct {
		Plan     string    `json:"plan" description:"scale, whatever is used"`
		Sessions limited   `json:"sessions"`
		Business allowance `json:"daily_business_messages"`
		Session  allowance `json:"daily_session_messages"`
		Sends    bool      `json:"send_enabled"`
		periodBody
	}

	limited struct {
		Used  int  `json:"used"`
		Limit *int `json:"limit" description:"null: there is none"`
	}

	allowance struct {
		limited
		Remaining *int `json:"remaining" description:"null: there is no limit"`
	}
)

func (h *API) summary(c echo.Context) error {
	now := time.Now().UTC()
	p, asked, err := readPeriod(c, now)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	links, err := h.Accounts.Links(ctx)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	b := summaryBody{Plan: "scale", Sends: true, Sessions: limited{Used: len(links)}}
	today := midnight(now)
	rows, err := h.Records.Usage(ctx, today, today.AddDate(0, 0, 1))
	if err != nil {
		return fmt.Errorf("count what was done today: %w", err)
	}
	for i := range rows {
		if rows[i].Sent == 0 {
			continue
		}
		a, err := h.Accounts.Account(ctx, rows[i].Account)
		if err != nil {
			return fmt.Errorf("find account %s: %w", rows[i].Account, err)
		}
		if a.Kind == gateway.LinkedDevice {
			b.Session.Used += rows[i].Sent
		} else {
			b.Business.Used += rows[i].Sent
		}
	}
	if asked {
		if rows, err = h.Records.Usage(ctx, p.from, p.to.AddDate(0, 0, 1)); err != nil {
			return fmt.Errorf("count what was done from %s to %s: %w", p.from, p.to, err)
		}
		b.periodBody = newPeriodBody(&p, rows)
	}
	return wire.Data(c, http.StatusOK, b)
}

type (
	metricsBody struct {
		Sessions sessionMetrics `json:"sessions"`
		Messages messageMetrics `json:"messages"`
	}

	sessionMetrics struct {
		Total          int      `json:"total"`
		Connected      int      `json:"connected"`
		DisconnectRate *float64 `json:"disconnect_rate_24h" minimum:"0" maximum:"1" description:"The share of linked devices that were not connected all the time; null: there are none"`
	}

	messageMetrics struct {
		Total       int      `json:"total_24h"`
		Sent        int      `json:"sent_24h"`
		Failed      int      `json:"failed_24h"`
		SuccessRate *float64 `json:"success_rate_24h" minimum:"0" maximum:"1" description:"The share of what was sent or failed that was sent; null: there was nothing"`
		Latency     *int64   `json:"avg_delivery_latency_ms"`
	}
)

func (h *API) metrics(c echo.Context) error {
	ctx, since := c.Request().Context(), time.Now().Add(-24*time.Hour)
	links, err := h.Accounts.Links(ctx)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	t, err := h.Records.Traffic(ctx, since)
	if err != nil {
		return fmt.Errorf("count messages: %w", err)
	}
	steady, paired := 0, 0
	b := metricsBody{Sessions: sessionMetrics{Total: len(links)}, Messages: messageMetrics{Total: t.Messages, Sent: t.Sent, Failed: t.Failed}}
	for i := range links {
		l := &links[i]
		if l.State == gateway.LinkUnpaired {
			continue // no device could be connected
		}
		paired++
		if l.State == gateway.LinkConnected {
			b.Sessions.Connected++
			if !l.ConnectedAt.After(since) {
				steady++
			}
		}
	}
	b.Sessions.DisconnectRate = share(paired-steady, paired)
	b.Messages.SuccessRate = share(t.Sent, t.Sent+t.Failed)
	if t.Latency > 0 {
		b.Messages.Latency = new(t.Latency.Milliseconds())
	}
	return wire.Data(c, http.StatusOK, b)
}

// share is part of all; nil if there is nothing.
func share(part, all int) *float64 {
	if all == 0 {
		return nil
	}
	return new(float64(part) / float64(all))
}
