package cloudapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secretA = "app secret of A"
	secretB = "app secret of B"
)

var (
	numberA = graphtest.Number{PhoneNumberID: "1001", Phone: "15550001111", WABA: "9001"}
	numberB = graphtest.Number{PhoneNumberID: "1002", Phone: "15550002222", WABA: "9002"}
	// numberC shares an app, and so its secret, with numberA.
	numberC = graphtest.Number{PhoneNumberID: "1003", Phone: "15550003333", WABA: "9001"}
	ann     = graphtest.Customer{Phone: "16505551234", Name: "Ann"}
	ben     = graphtest.Customer{Phone: "16505555678", Name: "Ben"}
)

func cloudAccount(id gateway.AccountID, n graphtest.Number, secret gateway.Secret) gateway.Account {
	return gateway.Account{
		ID: id, Kind: gateway.CloudAPI, PhoneNumber: "+" + n.Phone,
		Cloud: gateway.Cloud{
			PhoneNumberID: n.PhoneNumberID, WABAID: n.WABA, AppSecret: secret,
			VerifyToken: "verify " + gateway.Secret(id), AccessToken: "token",
		},
	}
}

func testAccounts() []gateway.Account {
	return []gateway.Account{
		{ID: "acc_try", Kind: gateway.Sandbox, Cloud: gateway.Cloud{
			PhoneNumberID: "1009", AppSecret: "a sandbox's", VerifyToken: "a sandbox's",
		}},
		cloudAccount("acc_a", numberA, secretA),
		cloudAccount("acc_b", numberB, secretB),
		cloudAccount("acc_c", numberC, secretA),
		cloudAccount("acc_open", graphtest.Number{PhoneNumberID: "1004"}, ""),
	}
}

// fakeStore is Accounts, Inbox and Statuses in memory.
type fakeStore struct {
	mu       sync.Mutex // guards all below
	accounts []gateway.Account
	looks    int
	received [][]gateway.Inbound
	updates  [][]gateway.StatusUpdate
	told     []gateway.TemplateUpdate
	calls    []string
	fail     map[string]error // by call
	panics   any
}

func newFakeStore() *fakeStore {
	return &fakeStore{accounts: testAccounts(), fail: map[string]error{}}
}

func (f *fakeStore) Accounts(context.Context) ([]gateway.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return slices.Clone(f.accounts), f.fail["accounts"]
}

func (f *fakeStore) Receive(_ context.Context, ms ...gateway.Inbound) ([]gateway.Outcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics != nil {
		panic(f.panics)
	}
	f.calls = append(f.calls, "receive")
	if err := f.fail["receive"]; err != nil {
		return nil, err
	}
	f.received = append(f.received, ms)
	return slices.Repeat([]gateway.Outcome{gateway.OutcomeStored}, len(ms)), nil
}

func (f *fakeStore) ApplyStatuses(_ context.Context, us []gateway.StatusUpdate) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "statuses")
	if err := f.fail["statuses"]; err != nil {
		return err
	}
	f.updates = append(f.updates, us)
	return nil
}

func (f *fakeStore) ApplyTemplateUpdates(_ context.Context, us []gateway.TemplateUpdate) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "templates")
	if err := f.fail["templates"]; err != nil {
		return err
	}
	f.told = append(f.told, us...)
	return nil
}

// got lists account and id of each message received.
func (f *fakeStore) got() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, ms := range f.received {
		for _, m := range ms {
			out = append(out, string(m.Account)+" "+m.ExternalID)
		}
	}
	return out
}

type rig struct {
	store *fakeStore
	reg   *prometheus.Registry
	log   *bytes.Buffer
	srv   *httptest.Server
}

// newRig serves a Handler over real HTTP.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{store: newFakeStore(), reg: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.srv = httptest.NewServer(NewHandler(r.store, r.store, r.store, log, r.reg))
	t.Cleanup(r.srv.Close)
	return r
}

// An answer is a response that was read and closed.
type answer struct {
	status int
	header http.Header
	body   string
}

func (r *rig) do(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := r.srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (r *rig) post(t *testing.T, body []byte, signature string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.srv.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if signature != "" {
		req.Header.Set("X-Hub-Signature-256", signature)
	}
	return r.do(t, req)
}

// metric checks a counter: name{label=value,…} value.
func (r *rig) metric(t *testing.T, want string) {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			line := f.GetName()
			if len(labels) > 0 {
				line += "{" + strings.Join(labels, ",") + "}"
			}
			all = append(all, fmt.Sprintf("%s %v", line, m.GetCounter().GetValue()))
		}
	}
	if !slices.Contains(all, want) {
		t.Errorf("no %s among\n%s", want, strings.Join(all, "\n"))
	}
}
