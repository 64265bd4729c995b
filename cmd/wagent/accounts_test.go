package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// account is what these tests look at in a business account of the API.
type account struct {
	ID, Status string
	Connected  bool
	Number     string `json:"phone_number_id"`
}

// window is what the API says of Ada's service window.
func (w *world) window(of string) (open bool, until string) {
	w.Helper()
	var got struct {
		Open  bool
		Until string `json:"expires_at"`
	}
	if code := w.call(http.MethodGet, "/api/v1/business_accounts/"+of+"/window?phone_number=%2B"+ada.Phone, nil, &got); code != http.StatusOK {
		w.Fatalf("the window: %d", code)
	}
	return got.Open, got.Until
}

func TestAWindowIsOpenForADay(t *testing.T) {
	inWorld(t, noAgents, echo, func(w *world) {
		if open, until := w.window("acc_a"); open || until != "" {
			w.Errorf("before she wrote: %v, until %q", open, until)
		}
		// A day is long for a world that looks at its windows every 5 s: most of it
		// has passed when we hear of her.
		end := w.start.Add(2 * time.Second)
		who := gateway.Address{Phone: "+" + ada.Phone}
		_, err := w.app.store.AddMessages(w.Context(), []gateway.Arrival{{
			Inbound: gateway.Inbound{
				Account: "acc_a", Peer: who, Sender: who, ExternalID: "wamid.1", Type: gateway.TypeText, Text: "hello",
				SentAt: end.Add(-gateway.ServiceWindow), Origin: gateway.OriginBacklog,
			},
			State: gateway.StateHeld,
		}})
		if err != nil {
			w.Fatal(err)
		}
		open, until := w.window("acc_a")
		if !open || until != end.UTC().Format(time.RFC3339) {
			w.Errorf("once she wrote: %v, until %q, want %v", open, until, end)
		}
		w.at(2*time.Second - time.Millisecond)
		if open, _ := w.window("acc_a"); !open {
			w.Error("closed too early")
		}
		if open, _ := w.window("acc_b"); open {
			w.Error("open for another account")
		}
		w.at(2 * time.Second)
		if open, _ := w.window("acc_a"); open {
			w.Error("open after a day")
		}
	})
}

// TestWhoHasALinkConnectsANumber: without a key, once; what Meta then delivers for
// it is taken, and what they told is not on disk as it was.
func TestWhoHasALinkConnectsANumber(t *testing.T) {
	var dir string
	where := func(c *config.Config) { noAgents(c); dir = c.DataDir }
	inWorld(t, where, echo, func(w *world) {
		var link struct{ ID, URL, Status string }
		if code := w.call(http.MethodPost, "/api/v1/business_accounts/connect", nil, &link); code != http.StatusCreated || link.Status != "pending" {
			w.Fatalf("connect: %d, %+v", code, link)
		}
		status, body := w.visit(http.MethodGet, link.URL, "")
		if status != http.StatusOK || !strings.Contains(body, "phone_number_id") {
			w.Errorf("at the link: %d %s", status, body)
		}
		const number = `{"business_account":{"waba_id":"9003","phone_number_id":"1003","phone_number":"+15550001003","meta_access_token":"EAAG-the-token"}}`
		if status, body := w.visit(http.MethodPost, link.URL, number); status != http.StatusUnprocessableEntity || !strings.Contains(body, `"phone_number_id"`) {
			w.Errorf("a number that the token does not reach: %d %s", status, body)
		}
		w.graph.Own(graphtest.Number{PhoneNumberID: "1003", Phone: "15550001003", WABA: "9003"}, "EAAG-the-token")
		if status, body := w.visit(http.MethodPost, strings.Replace(link.URL, "/connect/", "/api/v1/connects/", 1), number); status != http.StatusUnauthorized && status != http.StatusNotFound {
			w.Errorf("the API without a key: %d %s", status, body)
		}
		status, body = w.visit(http.MethodPost, link.URL, number)
		var added struct{ Data account }
		if err := json.Unmarshal([]byte(body), &added); err != nil || status != http.StatusCreated || !added.Data.Connected {
			w.Fatalf("the number: %d %s", status, body)
		}
		if status, body := w.visit(http.MethodPost, link.URL, strings.ReplaceAll(number, "1003", "1004")); status != http.StatusConflict {
			w.Errorf("the link again: %d %s", status, body)
		}
		w.at(10 * time.Second) // the webhook knows the accounts of a moment ago
		body = string(graphtest.Body(graphtest.Number{PhoneNumberID: "1003", Phone: "15550001003", WABA: "9003"}.Entry(ada.Text("wamid.1", "hello"))))
		if code := w.deliver(appSecret, []byte(body)); code != http.StatusOK {
			w.Fatalf("the webhook answered %d", code)
		}
		if open, _ := w.window(added.Data.ID); !open {
			w.Error("her message did not open the window")
		}
		if code := w.call(http.MethodDelete, "/api/v1/business_accounts/"+added.Data.ID, nil, nil); code != http.StatusNoContent {
			w.Errorf("delete: %d", code)
		}
		if code := w.call(http.MethodDelete, "/api/v1/business_accounts/acc_a", nil, nil); code != http.StatusConflict {
			w.Errorf("delete what is declared: %d", code)
		}
		var left []account
		w.call(http.MethodGet, "/api/v1/business_accounts", nil, &left)
		if len(left) != 2 || left[0].Number != "1001" || left[1].Status != "active" {
			w.Errorf("left are %+v", left)
		}
	})
	files, err := filepath.Glob(filepath.Join(dir, "wagent.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("database files: %v, %v", files, err)
	}
	var all strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	if !strings.Contains(all.String(), "9003") || strings.Contains(all.String(), "EAAG-the-token") {
		t.Error("the token is on disk as it was told, or the account is not there at all")
	}
}

// visit makes a request without a key.
func (w *world) visit(method, url, body string) (int, string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, url, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	var out strings.Builder
	if _, err := io.Copy(&out, resp.Body); err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, out.String()
}
