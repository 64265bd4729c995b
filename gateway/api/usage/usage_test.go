package usage

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is every part of the API. It follows the rules that the interfaces
// state.
type memory struct {
	rows    []gateway.UsageRow
	traffic gateway.Traffic
	links   []gateway.Link
}

func (m *memory) api() *API { return &API{Records: m, Accounts: m} }

func (m *memory) Usage(_ context.Context, from, until time.Time) ([]gateway.UsageRow, error) {
	var out []gateway.UsageRow
	for _, r := range m.rows {
		if !r.Day.Before(from) && r.Day.Before(until) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (m *memory) Traffic(context.Context, time.Time) (gateway.Traffic, error) { return m.traffic, nil }

func (m *memory) Account(_ context.Context, id gateway.AccountID) (gateway.Account, error) {
	kinds := map[gateway.AccountID]gateway.AccountKind{"acc_main": gateway.CloudAPI, "acc_phone": gateway.LinkedDevice, "acc_try": gateway.Sandbox}
	kind, ok := kinds[id]
	if !ok {
		return gateway.Account{}, &gateway.Error{Kind: gateway.NotFound, Msg: "no account"}
	}
	return gateway.Account{ID: id, Kind: kind}, nil
}

func (m *memory) Links(context.Context) ([]gateway.Link, error) { return m.links, nil }

const (
	agentA = gateway.AgentID("0a1b2c3d-1111-4222-8333-444455556666")
	agentB = gateway.AgentID("0b1b2c3d-1111-4222-8333-444455556666")
)

func day(s string) time.Time {
	t, err := time.Parse(dayLayout, s)
	if err != nil {
		panic(err)
	}
	return t
}

// do is what a story can have the double do.
func (m *memory) do(command string) bool {
	switch command {
	case "three accounts are busy today":
		today := midnight(time.Now())
		m.rows = append(m.rows,
			gateway.UsageRow{Day: today, Account: "acc_main", Received: 7, Sent: 5},
			gateway.UsageRow{Day: today, Account: "acc_try", Received: 1, Sent: 2},
			gateway.UsageRow{Day: today, Account: "acc_phone", Received: 4, Sent: 3},
			gateway.UsageRow{Day: today, Account: "acc_main", Agent: agentA, Runs: 5, InputTokens: 500, OutputTokens: 50})
		m.traffic = gateway.Traffic{Messages: 22, Sent: 9, Failed: 3, Latency: 1234567 * time.Microsecond}
	case "of four linked devices two are up, one of them since an hour, and one is to be paired":
		m.links = []gateway.Link{
			{Account: "acc_phone", State: gateway.LinkConnected, ConnectedAt: time.Now().Add(-25 * time.Hour)},
			{Account: "acc_phone2", State: gateway.LinkConnected, ConnectedAt: time.Now().Add(-time.Hour)},
			{Account: "acc_phone3", State: gateway.LinkLoggedOut, ConnectedAt: time.Now().Add(-50 * time.Hour)},
			{Account: "acc_phone4", State: gateway.LinkUnpaired},
		}
	case "it was busy in February and March of 2024":
		m.rows = append(m.rows,
			gateway.UsageRow{Day: day("2024-02-28"), Account: "acc_main", Received: 1},
			gateway.UsageRow{Day: day("2024-02-29"), Account: "acc_main", Received: 2, Sent: 3},
			gateway.UsageRow{Day: day("2024-02-29"), Account: "acc_main", Agent: agentB, Runs: 2, InputTokens: 200, OutputTokens: 20},
			gateway.UsageRow{Day: day("2024-02-29"), Agent: agentA, Runs: 1, InputTokens: 10, OutputTokens: 1},
			gateway.UsageRow{Day: day("2024-03-02"), Account: "acc_main", Agent: agentB, Runs: 3, InputTokens: 300, OutputTokens: 30},
			gateway.UsageRow{Day: day("2024-03-03"), Account: "acc_main", Received: 99})
	default:
		return false
	}
	return true
}

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := &memory{}
		return m.api().Mount, m.do
	})
}

func get(m *memory, path string) string {
	w := httptest.NewRecorder()
	wiretest.Echo(m.api().Mount).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1"+path, http.NoBody))
	return fmt.Sprint(w.Code, " ", w.Body)
}

// Inside of a bubble it is midnight of 2000-01-01 in UTC.
func TestAPeriodHasItsDefaults(t *testing.T) {
	for query, want := range map[string]string{
		"?from=1999-12-30": `"period":{"from":"1999-12-30","to":"2000-01-01"}`,
		"?to=1999-12-30":   `"period":{"from":"1999-12-01","to":"1999-12-30"}`,
		"?to=":             `"period":{"from":"2000-01-01","to":"2000-01-01"}`,
		"?group_by=month":  `"by_period":[{"period":"2000-01",`,
		"?from=2000-01-02": `"error":"from must not be after to, which is today unless it is given"`,
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := get(&memory{}, "/usage"+query); !strings.Contains(got, want) {
				t.Errorf("%s answers %s, without %s", query, got, want)
			}
		})
	}
}

func TestALeapYearIsTheLongestPeriod(t *testing.T) {
	got := get(&memory{}, "/usage?from=2024-01-01&to=2024-12-31")
	if n := strings.Count(got, `"period":"2024-`); n != 366 {
		t.Errorf("%d days", n)
	}
	if got := get(&memory{}, "/usage?from=2024-01-01&to=2025-01-01"); !strings.HasPrefix(got, "400 ") {
		t.Errorf("a day more answers %.100s", got)
	}
}

// away fails as the database does.
type away struct{ *memory }

var errAway = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}

func (away) Usage(context.Context, time.Time, time.Time) ([]gateway.UsageRow, error) {
	return nil, errAway
}

func (away) Traffic(context.Context, time.Time) (gateway.Traffic, error) {
	return gateway.Traffic{}, errAway
}

func (away) Links(context.Context) ([]gateway.Link, error) { return nil, errAway }

func TestADatabaseThatIsAwayIsNotNothingDone(t *testing.T) {
	m := &memory{}
	for name, h := range map[string]*API{
		"records":  {Records: away{m}, Accounts: m},
		"accounts": {Records: m, Accounts: away{m}},
	} {
		for _, path := range []string{"/usage", "/usage/metrics"} {
			w := httptest.NewRecorder()
			wiretest.Echo(h.Mount).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1"+path, http.NoBody))
			if diff := cmp.Diff(`503 {"error":"The database is away"}`, fmt.Sprint(w.Code, " ", w.Body)); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", path, name, diff)
			}
		}
	}
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, func() *API { return (&memory{}).api() })
}
