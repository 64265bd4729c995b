package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway/client"
	"wagent/gateway/client/agents"
	"wagent/gateway/client/messages"
	"wagent/gateway/client/pauses"
	"wagent/gateway/client/usage"
	"wagent/gateway/cloudapi/graphtest"
)

// alone has Ada write and no agent answer: it is a person's turn.
func (s *sdkRig) alone() *messages.Service {
	s.Helper()
	if _, err := s.c.Pauses("acc_a").Create(s.Context(), pauses.Params{PhoneNumber: "+" + ada.Phone}); err != nil {
		s.Fatal(err)
	}
	s.say(ada, "hello")
	return s.c.Messages("acc_a")
}

// become waits until a message has a status.
func (s *sdkRig) become(id, status string) (m messages.Message) {
	s.Helper()
	s.until("message "+id+" to be "+status, 20*time.Second, func() bool {
		var err error
		if m, err = s.c.Messages("acc_a").Retrieve(s.Context(), id); err != nil {
			s.Fatal(err)
		}
		return m.Status == status
	})
	return m
}

func TestClientSendsEveryTypeOfMessage(t *testing.T) {
	const to, file = "+4915550001", "https://example.com/room.jpg"
	s := newSDKRig(t, true, threeRooms)
	ctx, ms := t.Context(), s.alone()
	var want []graphtest.Sent
	for _, c := range []struct {
		send func() (messages.Message, error)
		want graphtest.Sent
	}{
		{func() (messages.Message, error) { return ms.SendText(ctx, to, "Your room is ready.") }, graphtest.Sent{Text: "Your room is ready."}},
		{
			func() (messages.Message, error) { return ms.SendMedia(ctx, to, "image", file, "The view") },
			graphtest.Sent{Type: "image", Link: file, Text: "The view"},
		},
		{
			func() (messages.Message, error) {
				return ms.Create(ctx, messages.Params{To: to, MessageType: "document", MessageMetadata: &messages.Metadata{URL: file, Filename: "room.jpg"}})
			},
			graphtest.Sent{Type: "document", Link: file, Filename: "room.jpg"},
		},
		{
			func() (messages.Message, error) { return ms.SendTemplate(ctx, to, "welcome", "en_US") },
			graphtest.Sent{Type: "template", Template: "welcome", Language: "en_US"},
		},
		{
			func() (messages.Message, error) {
				return ms.Create(ctx, messages.Params{
					To: to, MessageType: "template", TemplateName: "order", TemplateLanguage: "en", MessageMetadata: &messages.Metadata{
						Components: []any{map[string]any{"type": "body", "parameters": []any{map[string]any{"type": "text", "text": "Ada"}}}},
					},
				})
			},
			graphtest.Sent{Type: "template", Template: "order", Language: "en", Components: `[{"parameters":[{"text":"Ada","type":"text"}],"type":"body"}]`},
		},
		{
			func() (messages.Message, error) {
				return ms.SendButtons(ctx, to, "Late checkout?", messages.Button{ID: "y", Title: "Yes"}, messages.Button{ID: "n", Title: "No"})
			},
			graphtest.Sent{Type: "interactive", Text: "Late checkout?", Buttons: []graphtest.Button{{ID: "y", Title: "Yes"}, {ID: "n", Title: "No"}}},
		},
	} {
		m, err := c.send()
		if err != nil || m.Status != "queued" || m.Direction != "outbound" || m.To != to || !m.SentAt.IsZero() {
			t.Fatalf("sent %+v, %v", m, err)
		}
		sent := s.become(m.ID, "sent")
		c.want.To, c.want.PhoneNumberID, c.want.CallbackData, c.want.ID = ada.Phone, "1001", m.ID, sent.WAMID
		want = append(want, c.want)
	}
	if diff := cmp.Diff(want, s.graph.Sent(), cmpopts.IgnoreFields(graphtest.Sent{}, "At")); diff != "" {
		t.Errorf("WhatsApp got (-want +got):\n%s", diff)
	}
}

func TestClientFollowsAMessage(t *testing.T) {
	s := newSDKRig(t, true, threeRooms)
	ctx, ms := t.Context(), s.alone()
	p := messages.Params{To: "+" + ada.Phone, MessageType: "text", Content: "Your room is ready.", IdempotencyKey: "booking 7"}
	m, err := ms.Create(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ms.Create(ctx, p); err != nil || again.ID != m.ID {
		t.Errorf("under the same key, Create = %+v, %v, want %s", again, err, m.ID)
	}
	m = s.become(m.ID, "sent")
	for _, status := range []string{"delivered", "read"} {
		if code := s.post(appSecret, graphtest.Body(numbers["acc_a"].Entry(graphtest.Status(m.WAMID, ada.Phone, status, m.ID)))); code != http.StatusOK {
			t.Fatalf("the webhook answered %d", code)
		}
		m = s.become(m.ID, status)
	}
	if m.SentAt.IsZero() || m.DeliveredAt.IsZero() || m.ReadAt.IsZero() || m.CreatedAt.IsZero() || m.ErrorMessage != "" {
		t.Errorf("once read it is %+v", m)
	}
	failed, err := ms.SendText(ctx, "+4915550002", "to one who never wrote")
	if err != nil {
		t.Fatal(err)
	}
	if failed = s.become(failed.ID, "failed"); !strings.Contains(failed.ErrorMessage, "24 hours") || !failed.SentAt.IsZero() {
		t.Errorf("outside the window it is %+v", failed)
	}
	if n := len(s.graph.Sent()); n != 1 {
		t.Errorf("WhatsApp got %d messages", n)
	}

	var said []string
	for m, err := range ms.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, m.Direction+" "+m.Content)
	}
	if diff := cmp.Diff([]string{"outbound to one who never wrote", "outbound Your room is ready.", "inbound hello"}, said); diff != "" {
		t.Errorf("all messages (-want +got):\n%s", diff)
	}
	newest, err := ms.List(ctx, messages.Page{Limit: 1})
	if err != nil || newest.Total != 3 || len(newest.Items) != 1 || newest.Items[0] != failed {
		t.Fatalf("the newest = %+v, %v", newest, err)
	}
	before, err := ms.List(ctx, messages.Page{Before: failed.ID})
	if err != nil || before.Total != 3 || len(before.Items) != 2 || before.Items[0] != m {
		t.Errorf("those before = %+v, %v", before, err)
	}
	_, err = ms.SendText(ctx, "Ada", "")
	if e, ok := errors.AsType[*client.APIError](err); !ok || !errors.Is(err, client.ErrValidation) || len(e.Details["to"]) == 0 || len(e.Details["content"]) == 0 {
		t.Errorf("nothing to nobody = %v", err)
	}
	if _, err := ms.Retrieve(ctx, "msg_none"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("no message = %v", err)
	}
}

func TestClientUsage(t *testing.T) {
	s := newSDKRig(t, true, threeRooms)
	ctx, ms := t.Context(), s.alone()
	agent := s.agent(agents.Params{})
	if _, err := agent.Run(ctx, "Clean 101"); err != nil {
		t.Fatal(err)
	}
	m, err := ms.SendText(ctx, "+"+ada.Phone, "Your room is ready.")
	if err != nil {
		t.Fatal(err)
	}
	s.become(m.ID, "sent")

	now := time.Now()
	period := usage.Period{From: now.AddDate(0, 0, -1), To: now.AddDate(0, 0, 1)} // midnight may come in between
	u, err := s.c.Usage.Retrieve(ctx, period)
	if err != nil {
		t.Fatal(err)
	}
	if u.Plan != "scale" || !u.SendEnabled || u.Sessions.Used != 0 || u.Sessions.Limit != nil || u.DailyBusinessMessages.Remaining != nil || len(u.ByPeriod) != 3 {
		t.Errorf("Retrieve = %+v", u)
	}
	if u.Total.MessagesReceived != 1 || u.Total.MessagesSent != 1 || u.Total.Runs != 1 || u.Total.InputTokens == 0 || u.Total.OutputTokens == 0 {
		t.Errorf("in all %+v", u.Total)
	}
	if len(u.ByAgent) == 0 || len(u.ByAccount) == 0 {
		t.Fatalf("by agent %+v, by account %+v", u.ByAgent, u.ByAccount)
	}
	runsOf, sentBy := map[string]int{}, map[string]int{}
	for _, n := range u.ByAgent {
		runsOf[n.ID] = n.Runs
	}
	for _, n := range u.ByAccount {
		sentBy[n.ID] = n.MessagesSent
	}
	if runsOf[agent.ID] != 1 || sentBy["acc_a"] != 1 {
		t.Errorf("runs by agent %v, messages by account %v", runsOf, sentBy)
	}
	period.ByMonth = true
	if byMonth, err := s.c.Usage.Retrieve(ctx, period); err != nil || byMonth.Total != u.Total || len(byMonth.ByPeriod) > 2 {
		t.Errorf("by month = %+v, %v", byMonth, err)
	}
	if today, err := s.c.Usage.Retrieve(ctx, usage.Period{}); err != nil || today.ByPeriod != nil || today.Total != (usage.Count{}) {
		t.Errorf("without a period = %+v, %v", today, err)
	}
	metrics, err := s.c.Usage.Metrics(ctx)
	if err != nil || metrics.Sessions.Total != 0 || metrics.Sessions.DisconnectRate24h != nil ||
		metrics.Messages.Total24h == 0 || metrics.Messages.Sent24h != 1 || metrics.Messages.Failed24h != 0 ||
		metrics.Messages.SuccessRate24h == nil || *metrics.Messages.SuccessRate24h != 1 {
		t.Errorf("Metrics = %+v, %v", metrics, err)
	}
}
