package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway/client"
	"wagent/gateway/client/templates"
	"wagent/gateway/cloudapi/graphtest"
)

func TestClientTemplates(t *testing.T) {
	for name, embedded := range map[string]bool{"embedded": true, "postgres and redis": false} {
		t.Run(name, func(t *testing.T) {
			const waba = "9001"
			s := newSDKRig(t, embedded, threeRooms)
			s.graph.AddBusiness(waba, "token")
			s.graph.AddNumber("1001", "token")
			ctx, ts := t.Context(), s.c.Templates("acc_a")
			made, err := ts.Create(ctx, templates.Params{
				Name: "order_confirm", Language: "en", Category: "utility",
				Components: []any{map[string]any{
					"type": "BODY", "text": "Hi {{1}}, order {{2}} is on its way.", "example": map[string]any{"body_text": []any{[]any{"Ann", "ORD-1"}}},
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			var parts map[string]struct{ Text string }
			if err := json.Unmarshal(made.Components, &parts); err != nil || parts["BODY"].Text != "Hi {{1}}, order {{2}} is on its way." {
				t.Errorf("components %s, %v", made.Components, err)
			}
			if made.Status != "pending" || made.Category != "UTILITY" || made.Language != "en" || made.MetaTemplateID == "" || made.CreatedAt.IsZero() {
				t.Errorf("made %+v", made)
			}
			if _, err := ts.SendTest(ctx, made.ID, "+"+ada.Phone); !errors.Is(err, client.ErrConflict) {
				t.Errorf("a test of what Meta has not approved = %v", err)
			}

			atMeta := s.graph.PutTemplate(waba, graphtest.Template{Name: "order_confirm", Language: "en", Status: "APPROVED"})
			told := graphtest.Body(numbers["acc_a"].TemplateStatus(atMeta, "APPROVED", "", time.Now()))
			if code := s.post(appSecret, told); code != http.StatusOK {
				t.Fatalf("the webhook answered %d", code)
			}
			if got, err := ts.Retrieve(ctx, made.ID); err != nil || got.Status != "approved" || got.ID != made.ID {
				t.Errorf("once approved, Retrieve = %+v, %v", got, err)
			}
			m, err := ts.SendTest(ctx, made.ID, "+"+ada.Phone, "Ada", "ORD-2")
			if err != nil || m.MessageType != "template" || m.Content != "Hi Ada, order ORD-2 is on its way." {
				t.Fatalf("SendTest = %+v, %v", m, err)
			}
			s.become(m.ID, "sent")
			if sent := s.graph.Sent(); len(sent) != 1 || sent[0].Template != "order_confirm" || sent[0].To != ada.Phone {
				t.Errorf("WhatsApp got %+v", sent)
			}

			s.graph.PutTemplate(waba, graphtest.Template{Name: "hello_world", Language: "en_US", Category: "MARKETING"})
			synced, err := ts.Sync(ctx)
			if err != nil || synced.Total != 2 || len(synced.Items) != 2 {
				t.Errorf("Sync = %+v, %v", synced, err)
			}
			first, err := ts.Clone(ctx, made.ID, "")
			if err != nil || first.Name != "order_confirm_copy" || first.Status != "pending" {
				t.Errorf("Clone = %+v, %v", first, err)
			}
			if named, err := ts.Clone(ctx, made.ID, "order_again"); err != nil || named.Name != "order_again" {
				t.Errorf("Clone by a name = %+v, %v", named, err)
			}
			for filter, want := range map[templates.Filter][]string{
				{}:                      {"hello_world", "order_again", "order_confirm", "order_confirm_copy"},
				{Status: "approved"}:    {"hello_world", "order_confirm"},
				{Category: "MARKETING"}: {"hello_world"},
				{Status: "rejected"}:    nil,
			} {
				var got []string
				for tpl, err := range ts.All(ctx, filter) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, tpl.Name)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("templates of %+v (-want +got):\n%s", filter, diff)
				}
			}
			if err := ts.Delete(ctx, made.ID); err != nil {
				t.Error(err)
			}
			if _, err := ts.Retrieve(ctx, made.ID); !errors.Is(err, client.ErrNotFound) {
				t.Errorf("a deleted template = %v", err)
			}
			if left := s.graph.Templates(waba); len(left) != 3 {
				t.Errorf("Meta has %+v", left)
			}
			if _, err := ts.Create(ctx, templates.Params{Name: "No", Language: "en", Category: "UTILITY", Components: []any{}}); !errors.Is(err, client.ErrValidation) {
				t.Errorf("what Meta would not take = %v", err)
			}
		})
	}
}
