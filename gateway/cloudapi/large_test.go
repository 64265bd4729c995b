package cloudapi

import (
	"fmt"
	"testing"

	"wagent/gateway/cloudapi/graphtest"
)

func TestALargePostIsStoredInParts(t *testing.T) {
	r := newRig(t)
	var events []graphtest.Event
	for i := range 250 {
		events = append(events, ann.Text(fmt.Sprintf("wamid.%d", i), "x"))
	}
	for i := range 120 {
		events = append(events, graphtest.Status(fmt.Sprintf("wamid.out.%d", i), ann.Phone, "read", ""))
	}
	body := graphtest.Body(numberA.Entry(events...))
	if resp := r.post(t, body, graphtest.Sign(secretA, body)); resp.status != 200 {
		t.Fatalf("status %d, want 200", resp.status)
	}
	got := r.store.got()
	for i := range 250 {
		if i >= len(got) || got[i] != fmt.Sprintf("acc_a wamid.%d", i) {
			t.Fatalf("message %d of %d is not in its place", i, len(got))
		}
	}
	if len(got) != 250 || len(r.store.received) != 3 || len(r.store.updates) != 2 {
		t.Errorf("%d messages in %d parts and statuses in %d parts, want 250, 3 and 2", len(got), len(r.store.received), len(r.store.updates))
	}
	r.metric(t, "wagent_messages_received_total{account=acc_a,kind=cloud_api,outcome=stored} 250")
	r.metric(t, "wagent_message_statuses_total{status=read} 120")
}
