// Package usage is what a gateway counted.
package usage

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"wagent/gateway/client/rest"
)

// Service is the counts. It may be used concurrently.
type Service struct{ rest *rest.Client }

// New returns the counts.
func New(c *rest.Client) *Service { return &Service{c} }

// Usage is what was used of what there is. Business is the Cloud API, and
// Session is linked devices. A self-hosted gateway has no limits.
type Usage struct {
	Plan                  string `json:"plan"`
	Sessions              Quota  `json:"sessions"`
	DailyBusinessMessages Quota  `json:"daily_business_messages"`
	DailySessionMessages  Quota  `json:"daily_session_messages"`
	SendEnabled           bool   `json:"send_enabled"`
	// The rest is there only where a period was asked for.
	Total     Count   `json:"total"`
	ByPeriod  []Count `json:"by_period"` // each day or month
	ByAccount []Count `json:"by_account"`
	ByAgent   []Count `json:"by_agent"`
}

// Quota is a part of Usage.
type Quota struct {
	Used      int  `json:"used"`
	Limit     *int `json:"limit"`     // nil: none
	Remaining *int `json:"remaining"` // nil: no limit
}

// Count is what was done in a period.
type Count struct {
	Period           string `json:"period"` // 2026-11-26, or 2026-11; "" of what is counted by account or agent
	ID               string `json:"id"`     // of the account or agent; "": none's, or of what is counted by period
	MessagesReceived int    `json:"messages_received"`
	MessagesSent     int    `json:"messages_sent"`
	Runs             int    `json:"runs"` // that ended
	InputTokens      int    `json:"input_tokens"`
	OutputTokens     int    `json:"output_tokens"`
}

// Period is at most 366 days in UTC, of which the first and the last count. The
// zero value asks for none.
type Period struct {
	From    time.Time // zero: the first of the month in which To is
	To      time.Time // zero: today
	ByMonth bool      // rather than by day
}

// Retrieve returns what was used, and what was done in a period.
func (s *Service) Retrieve(ctx context.Context, p Period) (Usage, error) {
	q := url.Values{}
	for name, day := range map[string]time.Time{"from": p.From, "to": p.To} {
		if !day.IsZero() {
			q.Set(name, day.UTC().Format(time.DateOnly))
		}
	}
	if p.ByMonth {
		q.Set("group_by", "month")
	}
	return rest.One[Usage](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{"usage"}, Query: q})
}

// Metrics is how sending goes. Rates are from 0 to 1, and nil where there is
// nothing to count.
type Metrics struct {
	Sessions struct {
		Total             int      `json:"total"`
		Connected         int      `json:"connected"`
		DisconnectRate24h *float64 `json:"disconnect_rate_24h"`
	} `json:"sessions"`
	Messages struct {
		Total24h             int      `json:"total_24h"`
		Sent24h              int      `json:"sent_24h"`
		Failed24h            int      `json:"failed_24h"`
		SuccessRate24h       *float64 `json:"success_rate_24h"`
		AvgDeliveryLatencyMS *float64 `json:"avg_delivery_latency_ms"`
	} `json:"messages"`
}

// Metrics returns how sending went in the last 24 hours.
func (s *Service) Metrics(ctx context.Context) (Metrics, error) {
	return rest.One[Metrics](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{"usage", "metrics"}})
}
