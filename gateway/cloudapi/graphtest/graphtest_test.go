package graphtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = `{"messaging_product":"whatsapp","recipient_type":"individual","to":"16505551234","type":"text","text":{"body":"hi","preview_url":false}}`

func post(t *testing.T, s *Server, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v23.0/1001/messages", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer token")
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestTheServerIsAsStrictAsMeta(t *testing.T) {
	sub := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	tests := map[string]struct {
		body   string
		change func(*http.Request)
		status int
		code   int
	}{
		"a good one is taken":            {good, nil, 200, 0},
		"with everything, too":           {sub(`"type"`, `"context":{"message_id":"wamid.1"},"biz_opaque_callback_data":"msg_1","type"`), nil, 200, 0},
		"to a group":                     {sub(`individual","to":"16505551234"`, `group","to":"Y2Fw"`), nil, 200, 0},
		"to a user id":                   {sub(`"to":"16505551234"`, `"recipient":"US.1"`), nil, 200, 0},
		"as long as may be":              {sub("hi", strings.Repeat("é", 4096)), nil, 200, 0},
		"no token":                       {good, func(r *http.Request) { r.Header.Del("Authorization") }, 401, 190},
		"another token":                  {good, func(r *http.Request) { r.Header.Set("Authorization", "Bearer other") }, 401, 190},
		"another number":                 {good, func(r *http.Request) { r.URL.Path = "/v23.0/1002/messages" }, 400, 100},
		"another path":                   {good, func(r *http.Request) { r.URL.Path = "/v23.0/1001" }, 404, 2500},
		"another method":                 {good, func(r *http.Request) { r.Method = http.MethodGet }, 404, 2500},
		"a form":                         {good, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, 400, 100},
		"no JSON":                        {"hi", nil, 400, 100},
		"an unknown field":               {sub(`"type"`, `"tpye":"text","type"`), nil, 400, 100},
		"no product":                     {sub("whatsapp", "telegram"), nil, 400, 100},
		"an unknown recipient type":      {sub("individual", "everybody"), nil, 400, 100},
		"nobody":                         {sub("16505551234", ""), nil, 400, 131008},
		"a number with a plus":           {sub("16505551234", "+16505551234"), nil, 400, 131009},
		"another type":                   {sub(`"type":"text"`, `"type":"hologram"`), nil, 400, 131009},
		"an empty text":                  {sub("hi", ""), nil, 400, 131008},
		"no text":                        {sub(`"body":"hi",`, ""), nil, 400, 131008},
		"a text that is too long":        {sub("hi", strings.Repeat("é", 4097)), nil, 400, 100},
		"a context without a message":    {sub(`"type"`, `"context":{},"type"`), nil, 400, 131009},
		"callback data that is too long": {sub(`"type"`, `"biz_opaque_callback_data":"`+strings.Repeat("x", 513)+`","type"`), nil, 400, 100},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := New()
			s.AddNumber("1001", "token")
			status, body := post(t, s, tt.body, tt.change)
			if status != tt.status || tt.code != 0 && !strings.Contains(body, fmt.Sprintf(`"code":%d,`, tt.code)) {
				t.Errorf("%d %s, want %d and code %d", status, body, tt.status, tt.code)
			}
			if taken := len(s.Sent()) == 1; taken != (tt.status == 200) {
				t.Errorf("taken: %v", taken)
			}
		})
	}
}

// TestTheOtherTypesAreCheckedAsMetaDoes: what is refused differs in one thing from
// what is taken.
func TestTheOtherTypesAreCheckedAsMetaDoes(t *testing.T) {
	const (
		image    = `"type":"image","image":{"link":"https://example.com/a"}`
		audio    = `"type":"audio","audio":{"link":"https://example.com/a"}`
		document = `"type":"document","document":{"link":"https://example.com/a","filename":"a.pdf","caption":"c"}`
		template = `"type":"template","template":{"name":"hi","language":{"code":"en"},"components":[{"type":"body","parameters":[{"type":"text","text":"x"}]}]}`
		buttons  = `"type":"interactive","interactive":{"type":"button","body":{"text":"t"},"action":{"buttons":[{"type":"reply","reply":{"id":"a","title":"A"}}]}}`
	)
	tests := map[string]struct {
		content, old, replacement string
		code                      int // 0: taken
	}{
		"an image":                        {image, "", "", 0},
		"an audio":                        {audio, "", "", 0},
		"a document":                      {document, "", "", 0},
		"a template":                      {template, "", "", 0},
		"buttons":                         {buttons, "", "", 0},
		"content of another type":         {image, `"image":{`, `"video":{`, 100},
		"content of two types":            {image, `"type"`, `"text":{"body":"x"},"type"`, 100},
		"no content":                      {image, `,"image":{"link":"https://example.com/a"}`, "", 131008},
		"an image without a link":         {image, `"link":"https://example.com/a"`, "", 131008},
		"an image with a link and an id":  {image, `"link"`, `"id":"1","link"`, 131008},
		"a link that is none":             {image, "https://", "", 100},
		"an image with a name":            {image, `"link"`, `"filename":"a","link"`, 100},
		"an image with something unknown": {image, `"link"`, `"alt":"a","link"`, 100},
		"a caption that is too long":      {document, `"c"`, `"` + strings.Repeat("x", 1025) + `"`, 100},
		"an audio with a caption":         {audio, `"link"`, `"caption":"a","link"`, 100},
		"a template without a name":       {template, `"name":"hi",`, "", 132001},
		"a template without a language":   {template, `"language":{"code":"en"},`, "", 131008},
		"a component that is unknown":     {template, `"type":"body"`, `"type":"tail"`, 131009},
		"components that are no list":     {template, `[{"type":"body","parameters":[{"type":"text","text":"x"}]}]`, `{}`, 100},
		"a parameter without a type":      {template, `"type":"text",`, "", 131008},
		"a button's component bare":       {template, `"type":"body"`, `"type":"button"`, 131008},
		"interactive of another type":     {buttons, `"type":"button"`, `"type":"list"`, 131009},
		"buttons without a text":          {buttons, `"text":"t"`, `"text":" "`, 131008},
		"buttons below too long a text":   {buttons, `"text":"t"`, `"text":"` + strings.Repeat("x", 1025) + `"`, 131009},
		"no buttons":                      {buttons, `{"type":"reply","reply":{"id":"a","title":"A"}}`, "", 131009},
		"a button of another type":        {buttons, `"reply",`, `"url",`, 131009},
		"a button without an id":          {buttons, `"id":"a"`, `"id":""`, 131009},
		"two buttons of one id":           {buttons, `{"type":"reply"`, `{"type":"reply","reply":{"id":"a","title":"B"}},{"type":"reply"`, 131009},
		"a title that is too long":        {buttons, `"title":"A"`, `"title":"` + strings.Repeat("é", 21) + `"`, 131009},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := New()
			content := strings.Replace(tt.content, tt.old, tt.replacement, 1)
			if tt.code != 0 && content == tt.content {
				t.Fatal("nothing was replaced")
			}
			status, body := post(t, s, `{"messaging_product":"whatsapp","to":"16505551234",`+content+`}`, nil)
			if tt.code == 0 && status != 200 || tt.code != 0 && (status != 400 || !strings.Contains(body, fmt.Sprintf(`"code":%d,`, tt.code))) {
				t.Errorf("%d %s, want code %d", status, body, tt.code)
			}
		})
	}
}

func TestWithoutNumbersAnyTokenMaySend(t *testing.T) {
	s := New()
	if status, body := post(t, s, good, nil); status != 200 || !strings.Contains(body, s.Sent()[0].ID) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := post(t, s, good, func(r *http.Request) { r.Header.Del("Authorization") }); status != 401 {
		t.Errorf("without a token: %d", status)
	}
}

func TestFaultsAreUsedUpInOrder(t *testing.T) {
	s := New()
	s.Fail(2, Fault{Code: 130429, RetryAfter: "3"})
	s.Fail(1, Fault{Status: 502, Raw: "garbage", Take: true})
	var got []int
	for range 4 {
		status, _ := post(t, s, good, nil)
		got = append(got, status)
	}
	if fmt.Sprint(got) != "[400 400 502 200]" || len(s.Sent()) != 2 || s.Requests() != 4 {
		t.Errorf("statuses %v, %d sent, %d requests", got, len(s.Sent()), s.Requests())
	}
}

func TestACutConnectionEndsWithoutAnAnswer(t *testing.T) {
	s := New()
	s.Fail(1, Fault{Cut: true, Take: true})
	srv := httptest.NewServer(s)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/1001/messages", strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token")
	req.Header.Set("Content-Type", "application/json")
	resp, err := srv.Client().Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, io.EOF) || len(s.Sent()) != 1 {
		t.Errorf("%v, %d sent", err, len(s.Sent()))
	}
}

func TestWaitReturnsAsSoonAsEnoughWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		go func() {
			for range 2 {
				time.Sleep(time.Second)
				post(t, s, good, nil)
			}
		}()
		began := time.Now()
		if sent, err := s.Wait(t.Context(), 2); err != nil || len(sent) != 2 || time.Since(began) != 2*time.Second {
			t.Errorf("%d after %v: %v", len(sent), time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if sent, err := s.Wait(ctx, 3); !errors.Is(err, context.DeadlineExceeded) || len(sent) != 2 {
			t.Errorf("%d, %v", len(sent), err)
		}
	})
}

// TestSign pins the scheme to a value computed with openssl:
// printf '{"a":1}' | openssl dgst -sha256 -hmac key.
func TestSign(t *testing.T) {
	r, err := Request(t.Context(), "http://localhost/webhooks/whatsapp", "key", []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "sha256=88a67f24bbcdaed0e6c997404bb79a743baf44c6bab2f4c27328e3009d22e342"
	if got := r.Header.Get("X-Hub-Signature-256"); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestEventsAreCopied(t *testing.T) {
	ann := Customer{Phone: "16505551234"}
	e := ann.Text("1", "x")
	_ = e.ReplyingTo("wamid.q").In("g").At(time.Unix(0, 0))
	if strings.Contains(string(Body(Number{}.Entry(e))), "wamid.q") {
		t.Error("a modified copy changed the original")
	}
}
