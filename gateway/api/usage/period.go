package usage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// A period is whole days, from the first to the last, both midnight in UTC.
type period struct {
	from, to time.Time
	monthly  bool
}

// maxDays is how long a period may be: a leap year.
const maxDays = 366

const dayLayout, monthLayout = "2006-01-02", "2006-01"

func midnight(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// readPeriod reads the query, and reports whether it asks for a period: without
// a last day until today, and without a first one from the first of the last
// one's month.
func readPeriod(c echo.Context, now time.Time) (p period, asked bool, err error) {
	q := c.QueryParams()
	p.to = midnight(now)
	if s := q.Get("to"); s != "" {
		if p.to, err = time.Parse(dayLayout, s); err != nil {
			return p, false, wire.BadRequest("to must be a day such as 2026-11-26")
		}
	}
	p.from = time.Date(p.to.Year(), p.to.Month(), 1, 0, 0, 0, 0, time.UTC)
	if s := q.Get("from"); s != "" {
		if p.from, err = time.Parse(dayLayout, s); err != nil {
			return p, false, wire.BadRequest("from must be a day such as 2026-11-01")
		}
	}
	switch s := q.Get("group_by"); s {
	case "", "day":
	case "month":
		p.monthly = true
	default:
		return p, false, wire.BadRequest("group_by must be day or month")
	}
	switch {
	case p.from.Year() < 1970 || p.to.Year() > 9999:
		return p, false, wire.BadRequest("from must not be before 1970")
	case p.from.After(p.to):
		return p, false, wire.BadRequest("from must not be after to, which is today unless it is given")
	case p.to.Sub(p.from) >= maxDays*24*time.Hour:
		return p, false, wire.BadRequest(fmt.Sprintf("from and to must be at most %d days apart, both counted", maxDays))
	}
	return p, q.Has("from") || q.Has("to") || q.Has("group_by"), nil
}

// periodBody is what was done in a period. Of the zero one no member is shown; a
// list that is only empty is.
type periodBody struct {
	Period   spanBody      `json:"period,omitzero"`
	Total    *countBody    `json:"total,omitempty"`
	ByPeriod []periodCount `json:"by_period,omitzero"`
	ByAcc    []namedCount  `json:"by_account,omitzero"`
	ByAgent  []namedCount  `json:"by_agent,omitzero"`
}

type (
	spanBody struct {
		From string `json:"from" format:"date"`
		To   string `json:"to" format:"date"`
	}

	countBody struct {
		Received     int `json:"messages_received"`
		Sent         int `json:"messages_sent"`
		Runs         int `json:"runs"`
		InputTokens  int `json:"input_tokens"`
		OutputTokens int `json:"output_tokens"`
	}

	periodCount struct {
		Period string `json:"period" description:"A day as 2026-11-26, or a month as 2026-11"`
		countBody
	}

	// namedCount is of an account or an agent.
	namedCount struct {
		ID *string `json:"id" description:"null: runs of no account"`
		countBody
	}
)

func (b *countBody) add(u *gateway.UsageRow) {
	b.Received += u.Received
	b.Sent += u.Sent
	b.Runs += u.Runs
	b.InputTokens += u.InputTokens
	b.OutputTokens += u.OutputTokens
}

func newPeriodBody(p *period, rows []gateway.UsageRow) periodBody {
	layout := dayLayout
	if p.monthly {
		layout = monthLayout
	}
	b := periodBody{Period: spanBody{p.from.Format(dayLayout), p.to.Format(dayLayout)}, Total: &countBody{}}
	days, accounts, agents := map[string]*countBody{}, map[string]*countBody{}, map[string]*countBody{}
	for day := p.from; !day.After(p.to); day = day.AddDate(0, 0, 1) {
		days[day.Format(layout)] = &countBody{}
	}
	for i := range rows {
		u := &rows[i]
		b.Total.add(u)
		count(days, u.Day.Format(layout), u)
		count(accounts, string(u.Account), u)
		if u.Agent != "" {
			count(agents, u.Agent.String(), u)
		}
	}
	b.ByPeriod = make([]periodCount, 0, len(days))
	for _, name := range sorted(days) {
		b.ByPeriod = append(b.ByPeriod, periodCount{name, *days[name]})
	}
	b.ByAcc, b.ByAgent = named(accounts), named(agents)
	return b
}

func count(by map[string]*countBody, name string, u *gateway.UsageRow) {
	if by[name] == nil {
		by[name] = &countBody{}
	}
	by[name].add(u)
}

func named(by map[string]*countBody) []namedCount {
	out := make([]namedCount, 0, len(by))
	for _, name := range sorted(by) {
		out = append(out, namedCount{wire.OrNull(name), *by[name]})
	}
	return out
}

func sorted(by map[string]*countBody) []string {
	names := make([]string, 0, len(by))
	for name := range by {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
