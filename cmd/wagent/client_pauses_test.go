package main

import (
	"encoding/json"
	"testing"

	"wagent/gateway/client/pauses"
	"wagent/gateway/client/webhooks"
)

// TestClientIsToldOfPauses that a person makes over the API.
func TestClientIsToldOfPauses(t *testing.T) {
	s := newSDKRig(t, true, threeRooms)
	ctx, l := t.Context(), s.listen()
	if _, err := s.c.Webhooks.Create(ctx, webhooks.Params{URL: l.url, Events: []string{"conversation.paused"}}); err != nil {
		t.Fatal(err)
	}
	pause, err := s.c.Pauses("acc_a").Create(ctx, pauses.Params{PhoneNumber: "+" + ada.Phone, DurationMinutes: 5})
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Data pauses.Pause }
	if err := json.Unmarshal(l.about("conversation.paused").body, &told); err != nil || told.Data != pause {
		t.Errorf("told of %+v, %v, want %+v", told.Data, err, pause)
	}
}
