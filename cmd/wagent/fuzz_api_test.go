package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	echov4 "github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/api"
	"wagent/gateway/cloudapi/graphtest"
)

// fuzzed is the whole program, whose API is asked for anything.
type fuzzed struct {
	handler http.Handler
	routes  []*echov4.Route
	ids     map[string][]string // that exist, by the segment of the path before them
	asked   int
	stop    func() error
}

// maxAsked is how much one program is asked: what it was told to keep makes its
// lists long. The seeds ask for more, so that they begin another.
const maxAsked = 2000

// newFuzzed starts a program on SQLite and what it brings itself, with doubles of
// WhatsApp, of a model and of a customer's endpoint. Linked devices are rows only:
// nothing connects them. It outlives the input at which it was begun.
func newFuzzed(t testing.TB) *fuzzed {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	var network pipes
	graph := graphtest.New()
	for id, n := range numbers {
		graph.AddNumber(n.PhoneNumberID, "token of "+string(id))
	}
	model := &llmtest.Server{Key: "model-key", Answer: func(llmtest.Request) llmtest.Reply { return output("yes", "", "204", "205") }}
	ctx, stop := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "wagent-fuzz-") //nolint:usetesting // the input's would be gone with it
	if err != nil {
		t.Fatal(err)
	}
	var running errgroup.Group
	for host, h := range map[string]http.Handler{"graph.test:80": graph, "model.test:80": model, "hooks.test:80": http.NotFoundHandler()} {
		ln := network.listen(host)
		running.Go(func() error { return serveHTTP(ctx, ln, h, 0, log) })
	}
	cfg := worldConfig(dir)
	cfg.Accounts = append(cfg.Accounts, gateway.Account{ID: "acc_try", Kind: gateway.Sandbox, Declared: true}, linkedAccount)
	cfg.Drain = time.Second
	cfg.APIKeys = append(cfg.APIKeys, reader, till)
	a, err := build(ctx, cfg, host{listener: network.listen("wagent.test:80"), dial: network.dial, graphURL: "http://graph.test/v23.0", noSocket: true}, log)
	if err != nil {
		t.Fatal(err)
	}
	meta := network.listen("graph.test:80") // knows no number
	running.Go(func() error { return serveHTTP(ctx, meta, graphtest.New(), 0, log) })
	for _, part := range slices.Concat(a.in, a.out) {
		running.Go(func() error { return part(ctx) })
	}
	z := &fuzzed{handler: a.handler, ids: map[string][]string{}}
	z.stop = func() error {
		stop()
		err := running.Wait()
		a.Close()
		return errors.Join(err, os.RemoveAll(dir))
	}
	for _, r := range a.handler.(*echov4.Echo).Routes() {
		if (strings.HasPrefix(r.Path, "/api/v1/") || isLink(r.Path)) && !strings.Contains(r.Path, "*") {
			z.routes = append(z.routes, r)
		}
	}
	slices.SortFunc(z.routes, func(a, b *echov4.Route) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	z.settle(t, a)
	return z
}

// isLink reports whether a route is for whoever was given a link, and has no key.
func isLink(route string) bool { return strings.HasPrefix(route, "/connect/") }

// Keys of the configuration: one that may change nothing, and one that reaches
// the sandbox only.
var (
	reader = config.APIKey{Name: "reader", Key: "a-key-that-only-reads", Scope: "read", PerMinute: 1_000_000}
	till   = config.APIKey{Name: "till", Key: "a-key-of-the-sandbox", Scope: "write", Test: true, PerMinute: 1_000_000}
)

// linkedAccount is a number whose device nobody has linked.
var linkedAccount = gateway.Account{ID: "acc_phone", Kind: gateway.LinkedDevice, Declared: true}

// settle makes one of most things, so that paths can name it: an agent that may be
// changed, with runs of which one waits for decisions, and a customer who wrote.
func (z *fuzzed) settle(t testing.TB, a *app) {
	t.Helper()
	for _, id := range []string{"acc_a", "acc_try", "acc_phone"} {
		for _, segment := range []string{"business_accounts", "sandbox", "sessions", "accounts"} {
			z.ids[segment] = append(z.ids[segment], id)
		}
	}
	z.ids["conversation_windows"] = []string{"+15550001111"}
	made := func(route, path, body string) {
		w := z.do(http.MethodPost, path, body)
		if w.Code/100 != 2 {
			t.Fatalf("POST %s: %d %s", path, w.Code, w.Body)
		}
		z.learn(route, w.Body.Bytes())
	}
	made("/agents", "/api/v1/agents", `{"agent":{"name":"x","system_prompt":"y","model":"fake/model","confirmation_mode":"confirm",
		"allowed_actions":["hotel.room.clean"],"payload_schema":[{"name":"room","field_type":"text","required":true}]}}`)
	agent := z.ids["agents"][0]
	made("/runs", "/api/v1/agents/"+agent+"/runs", runOne)
	made("/messages", "/api/v1/sandbox/acc_try/messages", `{"message":{"from":"+15550001111","text":"hello"}}`)
	made("/conversation_pauses", "/api/v1/business_accounts/acc_try/conversation_pauses", `{"phone_number":"+15550001111"}`)
	made("/business_accounts/connect", "/api/v1/business_accounts/connect", "")
	cs, _, err := a.store.Contacts(t.Context(), "+15550001111", "", 1)
	if err != nil || len(cs) != 1 {
		t.Fatalf("the customer: %v, %v", cs, err)
	}
	z.ids["contacts"] = []string{string(cs[0].ID)}
	run := "/api/v1/agents/" + agent + "/runs/" + z.ids["runs"][0]
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !strings.Contains(z.do(http.MethodGet, run, "").Body.String(), `"status":"completed"`) {
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatal("the run does not end")
		}
	}
}

// do asks as somebody who needs no key.
func (z *fuzzed) do(method, path, body string) *httptest.ResponseRecorder {
	return z.doAs(api.Trusted(context.Background()), "", method, path, body)
}

// doAs asks from an address ("": any); headers are names and values.
func (z *fuzzed) doAs(ctx context.Context, from, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, "/", strings.NewReader(body))
	r.RemoteAddr = cmp.Or(from, r.RemoteAddr)
	u, err := url.ParseRequestURI(path)
	if err != nil { // no server gets it
		u = &url.URL{Path: path}
	}
	r.URL = u
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	z.handler.ServeHTTP(w, r)
	return w
}

// learn takes the ids of what an answer is about.
func (z *fuzzed) learn(route string, answer []byte) {
	var one struct{ Data struct{ ID any } }
	if json.Unmarshal(answer, &one) != nil || one.Data.ID == nil {
		return
	}
	segment := route[strings.LastIndexByte(route, '/')+1:]
	known := append(z.ids[segment], fmt.Sprint(one.Data.ID))
	z.ids[segment] = known[max(0, len(known)-8):]
	z.ids["connects"] = z.ids["connect"] // where the API shows them
}

// path fills the parameters of a route: mostly with what exists.
func (z *fuzzed) path(route *echov4.Route, r *rand.Rand, wild string) string {
	segments := strings.Split(route.Path, "/")
	most := 9 // of ten
	if route.Method == http.MethodDelete {
		most = 1 // what is gone gives nothing more to find
	}
	for i, s := range segments {
		if !strings.HasPrefix(s, ":") {
			continue
		}
		known := z.ids[segments[i-1]]
		switch n := r.IntN(10); {
		case n < most && len(known) > 0:
			segments[i] = url.PathEscape(known[r.IntN(len(known))])
		case n < 9 && r.IntN(2) == 0:
			segments[i] = url.PathEscape(wild)
		default:
			segments[i] = oddIDs[r.IntN(len(oddIDs))]
		}
	}
	return strings.Join(segments, "/")
}

var oddIDs = []string{
	"", "0", "-1", "1", "9223372036854775807", "9223372036854775808", "%00", "%2F", "%ff", "..", "null", "agt_", "agt_x", "run_x", "acc_x", "%2B15550001111",
	"agt_00000000000000000000000000000000", "a%20b", strings.Repeat("9", 200), "%F0%9F%98%80", "check",
}

// words are what the API's requests are made of. They need not be all of them:
// the bodies of the seeds hold more.
var (
	wrappers = []string{"agent", "run", "message", "webhook", "business_account", "session", "template", "contact", "pairing", "window", "memory"}
	fields   = []string{
		"name", "system_prompt", "description", "business_account_id", "model", "models", "temperature", "max_tokens", "active", "auto_run_inbound",
		"debounce_seconds", "max_wait_seconds", "max_batch_messages", "context_ttl_minutes", "allowed_actions", "payload_schema", "confirmation_mode",
		"confirmation_timeout_minutes", "inbound_config", "input", "metadata", "conversation_key", "last_message", "recent_messages", "actions", "index",
		"status", "phone_number", "duration_minutes", "to", "from", "text", "message_type", "content", "template_name", "template_language",
		"message_metadata", "buttons", "id", "title", "url", "events", "secret", "waba_id", "phone_number_id", "display_name", "meta_access_token",
		"method", "tags", "language", "category", "components", "type", "trigger_on", "min_message_length", "ignore_patterns", "model_settings",
		"business_name", "app_secret", "verify_token", "spend_limits", "compaction", "memory_blocks", "answers", "on_new_message", "value", "role", "on", "limit", "variables", "format", "parameters",
	}
	values = []string{
		"", "x", "+15550001111", "15550001111", "text", "template", "image", "interactive", "button", "auto", "confirm", "confirmed", "rejected", "hotel.room.clean",
		"a.b.c", "fake/model", "gpt-4o-mini", "acc_try", "acc_a", "https://hooks.test/in", "http://127.0.0.1", "message.received", "en", "en_US", "MARKETING",
		"BODY", "(", "[a-", "\u0000", "😀", "qr", "supersede", "9999-99-99", strings.Repeat("long ", 2000),
	}
	oddValues = []string{"1e999", "-0", "0.5", "9223372036854775808", "1e-400", "2147483648", `"\ud83d"`, `"\ud83d\u0000"`}
	queries   = []string{"limit", "before", "status", "category", "phone_number", "include_expired", "phone", "cursor", "from", "to", "period", "tag", "q"}
)

// value makes JSON of at most a depth.
func value(r *rand.Rand, depth int) any {
	kinds := 9
	if depth <= 0 {
		kinds = 6
	}
	switch r.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return r.IntN(200) - 20
	case 3:
		return json.RawMessage(oddValues[r.IntN(len(oddValues))])
	case 4, 5:
		return values[r.IntN(len(values))]
	case 6:
		out := make([]any, r.IntN(4))
		for i := range out {
			out[i] = value(r, depth-1)
		}
		return out
	default:
		out := map[string]any{}
		for range r.IntN(6) {
			out[fields[r.IntN(len(fields))]] = value(r, depth-1)
		}
		return out
	}
}

// body is raw, or JSON that looks like the API's.
func (z *fuzzed) body(route string, r *rand.Rand, raw string) string {
	if r.IntN(2) == 0 {
		return raw
	}
	v := value(r, 4)
	if r.IntN(3) > 0 {
		m := map[string]any{}
		for range 1 + r.IntN(10) {
			m[fields[r.IntN(len(fields))]] = value(r, 3)
		}
		v = m
	}
	if r.IntN(3) > 0 {
		wrapper := wrappers[r.IntN(len(wrappers))]
		switch {
		case isLink(route):
			wrapper = "business_account"
		case r.IntN(3) > 0: // what the resource is called, but in the singular
			wrapper = strings.TrimSuffix(route[strings.LastIndexByte(route, '/')+1:], "s")
		}
		v = map[string]any{wrapper: v}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return string(b)
}

// form is raw, or what a browser sends from the page of a link.
func form(r *rand.Rand, raw string) string {
	if r.IntN(3) == 0 {
		return raw
	}
	out := url.Values{}
	for _, name := range []string{"business_name", "display_name", "phone_number", "waba_id", "phone_number_id", "meta_access_token", "app_secret", "verify_token"} {
		if r.IntN(5) > 0 {
			out.Add(name, append(values, "1", "2", raw)[r.IntN(len(values)+3)])
		}
	}
	return out.Encode()
}

// FuzzAPI asks for anything that the routes take, and for what they do not, as
// whoever may do everything, with a key, and with none. Its property is that the
// answer is never of 5xx, says what the contract says that answers look like, and
// is a refusal where the key is not good for it.
func FuzzAPI(f *testing.F) {
	z := newFuzzed(f)
	stop := func(t testing.TB) {
		t.Helper()
		if err := z.stop(); err != nil {
			t.Errorf("the program: %v", err)
		}
	}
	defer func() { stop(f) }()
	bodies := []string{
		"", "{}", "[]", "nul", `"x"`, `{"agent":{}}`, `{"run":{"input":"x"}}`, `{"run":{"input":{"last_message":"x"},"metadata":{"conversation_key":"k"}}}`,
		`{"actions":[{"index":0,"status":"confirmed"}]}`, `{"phone_number":"+15550001111","duration_minutes":5}`, `{"session":{"name":"x"}}`,
		`{"message":{"from":"+15550001111","text":"hi"}}`, `{"message":{"to":"+15550001111","message_type":"text","content":"hi"}}`,
		`{"webhook":{"url":"https://hooks.test/in","events":["message.received"]}}`, `{"agent":{"name":"n","system_prompt":"p"}}`,
		`{"business_account":{"waba_id":"1","phone_number_id":"2","business_name":"b","display_name":"d","phone_number":"+15550009999","meta_access_token":"t"}}`,
		`{"template":{"name":"t","language":"en_US","category":"UTILITY","components":[{"type":"BODY","text":"x"}]}}`, "\xff", `{"agent":{"name":"\u0000"}}`,
		"waba_id=1&phone_number_id=2&meta_access_token=t&business_name=%ff", "%zz",
	}
	for i := range z.routes {
		for k := range 5 {
			f.Add(uint16(i), uint64(5*i+k), bodies[(5*i+k)%len(bodies)])
		}
	}
	f.Fuzz(func(t *testing.T, which uint16, seed uint64, raw string) {
		h := fnv.New64a()
		_, _ = h.Write([]byte(raw))
		r := rand.New(rand.NewPCG(seed, h.Sum64()))
		z.ask(t, z.routes[int(which)%len(z.routes)], r, raw)
		for range 7 { // what one leaves may be the next one's trouble
			z.ask(t, z.routes[r.IntN(len(z.routes))], r, bodies[r.IntN(len(bodies))])
		}
		if z.asked += 8; z.asked > maxAsked {
			stop(t)
			z = newFuzzed(t)
		}
	})
}

// ask asks once, by a route or nearly so.
func (z *fuzzed) ask(t *testing.T, route *echov4.Route, r *rand.Rand, raw string) {
	t.Helper()
	method, path := route.Method, z.path(route, r, raw)
	switch r.IntN(40) {
	case 0:
		path += "/" + url.PathEscape(raw)
	case 1:
		method = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "ODD"}[r.IntN(8)]
	case 2:
		path += "?" + raw
	}
	for i := range r.IntN(3) {
		path += map[bool]string{true: "?", false: "&"}[i == 0] + queries[r.IntN(len(queries))] + "=" + url.QueryEscape(values[r.IntN(len(values)-1)])
	}
	var header []string
	if r.IntN(4) == 0 {
		header = []string{"Idempotency-Key", values[r.IntN(len(values))], "Content-Type", []string{"", "text/plain", "application/json", "a/b/c"}[r.IntN(4)]}
	}
	body := z.body(route.Path, r, raw)
	if isLink(route.Path) && r.IntN(2) == 0 {
		body, header = form(r, raw), append(header, "Content-Type", "application/x-www-form-urlencoded")
	}
	if isLink(route.Path) && r.IntN(2) == 0 {
		header = append(header, "Accept", "text/html")
	}
	ctx, key := api.Trusted(context.Background()), ""
	if isLink(route.Path) || r.IntN(4) == 0 {
		key = []string{"", "Bearer", raw, "Bearer " + raw, "Bearer " + string(reader.Key), "Bearer " + string(till.Key)}[r.IntN(6)]
		ctx, header = context.Background(), append(header, "Authorization", key)
	}
	from := fmt.Sprintf("[2001:db8:%x:%x::1]:1", r.IntN(1<<16), r.IntN(1<<16)) // one client would be told to wait
	w := z.doAs(ctx, from, method, path, body, header...)
	err := looksRight(method, route.Path, w.Result())
	if err == nil && ctx == context.Background() && strings.HasPrefix(route.Path, "/api/v1/") {
		err = mayHave(key, method, route.Path, w.Code)
	}
	if err != nil {
		t.Errorf("%s %s\n%q\n%s\n%v\n%d %.500s", method, path, header, body, err, w.Code, w.Body)
	}
	if w.Code/100 == 2 && method == http.MethodPost {
		z.learn(route.Path, w.Body.Bytes())
	}
}

// mayHave reports an answer that whoever has the key should not have got.
func mayHave(authorization, method, route string, status int) error {
	reads := method == http.MethodGet || method == http.MethodHead || strings.HasSuffix(route, "/check")
	switch authorization {
	case "Bearer " + string(till.Key):
		return nil
	case "Bearer " + string(reader.Key):
		if status < 300 && !reads {
			return fmt.Errorf("it was done with a key that only reads")
		}
	default:
		if status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
			return fmt.Errorf("it was looked at without a key")
		}
	}
	return nil
}

// files are the routes whose answers are no JSON.
var files = []string{"/api/v1/sessions/:session/media/:message"}

// looksRight reports what the contract does not have answers look like.
func looksRight(method, route string, r *http.Response) error {
	b, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return err
	case r.StatusCode >= 500:
		return fmt.Errorf("it broke")
	case r.StatusCode == http.StatusNoContent:
		if len(b) > 0 {
			return fmt.Errorf("204 has a body")
		}
		return nil
	case method == http.MethodHead || r.StatusCode == http.StatusOK && slices.Contains(files, route):
		return nil
	case isLink(route) && r.StatusCode == http.StatusSeeOther:
		return nil
	case isLink(route) && strings.HasPrefix(r.Header.Get("Content-Type"), "text/html"):
		if !strings.Contains(string(b), "</html>") || r.StatusCode >= 300 && r.StatusCode < 400 {
			return fmt.Errorf("it is no page")
		}
		return nil
	case r.Header.Get("Content-Type") != "application/json":
		return fmt.Errorf("the content type is %q", r.Header.Get("Content-Type"))
	}
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(b, &answer); err != nil {
		return err
	}
	var says string
	_ = json.Unmarshal(answer["error"], &says) // it is then empty
	_, data := answer["data"]
	_, paused := answer["paused"]
	switch {
	case r.StatusCode >= 400 && says == "":
		return fmt.Errorf("it does not say what is wrong")
	case r.StatusCode < 300 && !data && (!paused || !strings.HasSuffix(route, "/check")):
		return fmt.Errorf("there is no data")
	case r.StatusCode < 200 || r.StatusCode >= 300 && r.StatusCode < 400:
		return fmt.Errorf("no answer has that status")
	}
	return nil
}
