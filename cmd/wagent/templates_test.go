package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway/cloudapi/graphtest"
)

// madeTemplate is what these tests look at in a template of the API.
type madeTemplate struct {
	ID, Name, Status string
	Reason           string `json:"rejection_reason"`
}

const templatesOfA = "/api/v1/business_accounts/acc_a/templates"

// templates lists an account's templates as the API shows them.
func (w *world) templates(method, path string) []string {
	w.Helper()
	var ts []madeTemplate
	if code := w.call(method, path, nil, &ts); code != http.StatusOK {
		w.Fatalf("%s %s: %d", method, path, code)
	}
	var out []string
	for _, t := range ts {
		out = append(out, t.Name+" "+t.Status)
	}
	return out
}

// judge has Meta tell of a template's status.
func (w *world) judge(t graphtest.Template, event, reason string) {
	w.Helper()
	if code := w.deliver(appSecret, graphtest.Body(numbers["acc_a"].TemplateStatus(t, event, reason, time.Now()))); code != http.StatusOK {
		w.Fatalf("the webhook answered %d", code)
	}
}

// toldOfTemplates is what the webhook's receiver was told, and when.
func (w *world) toldOfTemplates() []string {
	var out []string
	for _, h := range w.hooks.events("template.status") {
		out = append(out, fmt.Sprint(h.data["business_account_id"], " ", h.data["name"], " ", h.data["language"], " ", h.data["status"], " ", h.data["rejection_reason"]))
	}
	return out
}

func TestATemplateFromItsMakingToItsEnd(t *testing.T) {
	inWorld(t, noAgents, echo, func(w *world) {
		waba := numbers["acc_a"].WABA
		w.graph.AddBusiness(waba, "token of acc_a")
		want := func(what string, got, want []string) {
			w.Helper()
			if diff := cmp.Diff(want, got); diff != "" {
				w.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		var made madeTemplate
		in := jsonObject(w.T, `{"template":{"name":"order_confirm","category":"utility","language":"en",`+
			`"components":{"BODY":"Hi {{1}}, order {{2}} is on its way."},"variable_examples":{"BODY":["Ann","ORD-1"]}}}`)
		if code := w.call(http.MethodPost, templatesOfA, in, &made); code != http.StatusCreated || made.Status != "pending" {
			w.Fatalf("%d %+v", code, made)
		}
		test := map[string]any{"to": "+" + ada.Phone, "variables": []string{"Ada", "ORD-2"}}
		if code := w.call(http.MethodPost, templatesOfA+"/"+made.ID+"/send_test", test, nil); code != http.StatusConflict {
			w.Errorf("a test of what Meta has not approved: %d", code)
		}

		// Meta approves it, and tells so more than once.
		w.at(time.Minute)
		atMeta := w.graph.Templates(waba)[0]
		for range 3 {
			w.judge(atMeta, "APPROVED", "")
		}
		want("the API's templates", w.templates(http.MethodGet, templatesOfA+"?status=approved"), []string{"order_confirm approved"})
		w.at(time.Minute + 5*time.Second)
		want("told", w.toldOfTemplates(), []string{"acc_a order_confirm en approved <nil>"})

		// A test goes to somebody who never wrote.
		var m sentMessage
		if code := w.call(http.MethodPost, templatesOfA+"/"+made.ID+"/send_test", test, &m); code != http.StatusCreated || m.Status != "queued" {
			w.Fatalf("%d %+v", code, m)
		}
		w.at(2 * time.Minute)
		if m = w.said(m.ID); m.Status != "sent" || m.Type != "template" || m.Content != "Hi Ada, order ORD-2 is on its way." {
			w.Errorf("the test is %+v", m)
		}
		sent := w.graph.Sent()
		if len(sent) != 1 || sent[0].Template != "order_confirm" || sent[0].Language != "en" || sent[0].To != ada.Phone ||
			sent[0].Components != `[{"type":"body","parameters":[{"type":"text","text":"Ada"},{"type":"text","text":"ORD-2"}]}]` {
			w.Errorf("WhatsApp got %+v", sent)
		}

		// A sync brings what was made and changed at Meta, to this account only.
		w.graph.PutTemplate(waba, graphtest.Template{Name: "hello_world", Language: "en_US"})
		w.graph.PutTemplate(waba, graphtest.Template{Name: "order_confirm", Language: "en", Status: "PAUSED"})
		want("synced", w.templates(http.MethodPost, templatesOfA+"/sync"), []string{"hello_world approved", "order_confirm paused"})
		want("another account's", w.templates(http.MethodGet, "/api/v1/business_accounts/acc_b/templates"), nil)
		if code := w.call(http.MethodPost, templatesOfA+"/"+made.ID+"/clone", nil, nil); code != http.StatusCreated {
			w.Errorf("a clone: %d", code)
		}
		want("with the clone", w.templates(http.MethodGet, templatesOfA), []string{"hello_world approved", "order_confirm paused", "order_confirm_copy pending"})
		w.at(3 * time.Minute)
		copied := w.graph.PutTemplate(waba, graphtest.Template{Name: "order_confirm_copy", Language: "en", Status: "REJECTED", Reason: "INVALID_FORMAT"})
		w.judge(copied, "REJECTED", "INVALID_FORMAT")

		// What is deleted here is deleted there, and the other way round.
		if code := w.call(http.MethodDelete, templatesOfA+"/"+made.ID, nil, nil); code != http.StatusNoContent {
			w.Errorf("deleting: %d", code)
		}
		w.graph.DropTemplates(waba, "hello_world")
		want("after a sync", w.templates(http.MethodPost, templatesOfA+"/sync"), []string{"order_confirm_copy rejected"})
		if left := w.graph.Templates(waba); len(left) != 1 {
			w.Errorf("Meta has %+v", left)
		}
		w.at(4 * time.Minute)
		want("told in all", w.toldOfTemplates(), []string{
			"acc_a order_confirm en approved <nil>", "acc_a order_confirm en paused <nil>", "acc_a order_confirm_copy en rejected INVALID_FORMAT",
		})
	})
}

func TestATokenThatMetaRefusesIsTheAccountsTrouble(t *testing.T) {
	inWorld(t, noAgents, echo, func(w *world) {
		w.graph.AddBusiness(numbers["acc_a"].WABA, "another token")
		if code := w.call(http.MethodPost, templatesOfA+"/sync", nil, nil); code != http.StatusConflict {
			w.Errorf("a sync with a token that is no good: %d", code)
		}
		w.graph.AddBusiness(numbers["acc_a"].WABA, "token of acc_a")
		if got := w.templates(http.MethodPost, templatesOfA+"/sync"); got != nil {
			w.Errorf("synced %v", got)
		}
	})
}
