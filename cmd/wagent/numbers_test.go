package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// TestAnAnswerUnderAnotherNumberIsTheSamePersons: in Brazil a mobile number has a
// ninth digit that many a wa_id lacks. A person wrote to one form, the customer
// answers under the other, and whoever looks under either sees all of it.
func TestAnAnswerUnderAnotherNumberIsTheSamePersons(t *testing.T) {
	takesOver := func(c *config.Config) { c.Accounts[0].Takeover = time.Hour }
	inWorld(t, takesOver, echo, func(w *world) {
		const dialled, waID = "5531988887777", "553188887777"
		w.graph.KnowAs(dialled, waID)
		carla := graphtest.Customer{Phone: waID, Name: "Carla"}
		var m sentMessage
		in := map[string]any{"message": jsonObject(w.T, `{"to":"+`+dialled+`","message_type":"template","template_name":"welcome","template_language":"en"}`)}
		if code := w.call(http.MethodPost, "/api/v1/business_accounts/acc_a/messages", in, &m); code != http.StatusCreated {
			w.Fatalf("sending: %d", code)
		}
		w.at(time.Second)
		w.post("acc_a", graphtest.Status(w.said(m.ID).WAMID, waID, "delivered", m.ID))
		w.post("acc_a", carla.Text("wamid.1", "thanks, who is it?"))
		w.at(time.Minute)
		if m = w.said(m.ID); m.Status != "delivered" {
			w.Errorf("the message is %+v", m)
		}
		for _, phone := range []string{dialled, waID} {
			c, err := w.app.store.ConversationWith(w.Context(), "acc_a", gateway.Address{Phone: "+" + phone})
			if err != nil {
				w.Fatal(err)
			}
			ms, err := w.app.store.Recent(w.Context(), c.ID, 0, 9)
			if err != nil {
				w.Fatal(err)
			}
			var said []string
			for i := range ms {
				said = append(said, string(ms[i].Direction)+" "+string(ms[i].Type))
			}
			if diff := cmp.Diff([]string{"out template", "in text"}, said); diff != "" {
				w.Errorf("under %s (-want +got):\n%s", phone, diff)
			}
			var window struct{ Open bool }
			w.call(http.MethodGet, "/api/v1/business_accounts/acc_a/window?phone_number=%2B"+phone, nil, &window)
			if !window.Open {
				w.Errorf("the service window of %s is closed", phone)
			}
		}
		// A person has the conversation: the agent keeps out of it.
		if sent := w.graph.Sent(); len(sent) != 1 {
			w.Errorf("sent %+v", sent)
		}
	})
}
