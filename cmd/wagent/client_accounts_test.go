package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/client"
	"wagent/gateway/client/accounts"
	"wagent/gateway/client/sessions"
	"wagent/gateway/cloudapi/graphtest"
)

func TestClientAccounts(t *testing.T) {
	s := newSDKRig(t, true, threeRooms)
	s.own()
	ctx := t.Context()
	p := accounts.Params{
		WABAID: "9003", PhoneNumberID: "1003", BusinessName: "Hotel", DisplayName: "Desk", PhoneNumber: "+15550001003", MetaAccessToken: "EAAG-token",
	}
	a, err := s.c.Accounts.Create(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	want := accounts.Account{
		WABAID: "9003", PhoneNumberID: "1003", BusinessName: "Hotel", DisplayName: "Desk", PhoneNumber: "+15550001003",
		Status: "active", Connected: true, HumanTakeoverDuration: int(gateway.DefaultTakeover.Minutes()),
	}
	if diff := cmp.Diff(want, a, cmpopts.IgnoreFields(accounts.Account{}, "ID", "CreatedAt", "UpdatedAt")); diff != "" || a.ID == "" || a.CreatedAt.IsZero() {
		t.Errorf("created %+v (-want +got):\n%s", a, diff)
	}
	if got, err := s.c.Accounts.Retrieve(ctx, a.ID); err != nil || got != a {
		t.Errorf("Retrieve = %+v, %v, want %+v", got, err, a)
	}
	_, err = s.c.Accounts.Create(ctx, p)
	if e, ok := errors.AsType[*client.APIError](err); !ok || !errors.Is(err, client.ErrValidation) || len(e.Details["phone_number_id"]) == 0 {
		t.Errorf("a number that there is already = %v", err)
	}
	var ids []string
	for a, err := range s.c.Accounts.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	if diff := cmp.Diff([]string{"acc_a", a.ID}, ids, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	if err := s.c.Accounts.Delete(ctx, a.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.c.Accounts.Retrieve(ctx, a.ID); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("a deleted account = %v", err)
	}
	if err := s.c.Accounts.Delete(ctx, "acc_a"); !errors.Is(err, client.ErrConflict) {
		t.Errorf("deleting an account of the configuration file = %v", err)
	}
}

// own has Meta know the number that tests add, beside the one that there is.
func (s *sdkRig) own() {
	s.graph.AddNumber(numbers["acc_a"].PhoneNumberID, "token")
	s.graph.Own(graphtest.Number{PhoneNumberID: "1003", Phone: "15550001003", WABA: "9003"}, "EAAG-token")
}

func TestClientWindow(t *testing.T) {
	s := newSDKRig(t, true, threeRooms)
	ctx := t.Context()
	if w, err := s.c.Accounts.Window(ctx, "acc_a", "+"+ada.Phone); err != nil || w != (accounts.Window{PhoneNumber: "+" + ada.Phone}) {
		t.Errorf("before she wrote, Window = %+v, %v", w, err)
	}
	s.say(ada, "hello")
	w, err := s.c.Accounts.Window(ctx, "acc_a", ada.Phone)
	if err != nil || !w.Open || w.PhoneNumber != "+"+ada.Phone || w.ExpiresAt.Sub(w.LastInboundAt) != 24*time.Hour {
		t.Errorf("once she wrote, Window = %+v, %v", w, err)
	}
	if _, err := s.c.Accounts.Window(ctx, "acc_a", ""); !errors.Is(err, client.ErrBadRequest) {
		t.Errorf("the window of nobody = %v", err)
	}
	if _, err := s.c.Accounts.Window(ctx, "acc_none", "+"+ada.Phone); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("the window of no account = %v", err)
	}
}

func TestClientConnect(t *testing.T) {
	s := newSDKRig(t, true, threeRooms)
	s.own()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	link, err := s.c.Accounts.Connect(ctx)
	if err != nil || link.Status != accounts.Pending || !strings.HasPrefix(link.URL, s.proc.url) || !link.ExpiresAt.After(time.Now()) {
		t.Fatalf("Connect = %+v, %v", link, err)
	}
	if got, err := s.c.Accounts.RetrieveConnect(ctx, link.ID); err != nil || got != link {
		t.Errorf("RetrieveConnect = %+v, %v, want %+v", got, err, link)
	}
	// Whoever has the link needs no key.
	const number = `{"business_account":{"waba_id":"9003","phone_number_id":"1003","meta_access_token":"EAAG-token"}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, link.URL, strings.NewReader(number))
	if err != nil {
		t.Fatal(err)
	}
	if code := s.do(req); code != http.StatusCreated {
		t.Fatalf("at the link: %d", code)
	}
	a, err := s.c.Accounts.WaitForConnect(ctx, link.ID)
	if err != nil || a.PhoneNumberID != "1003" || !a.Connected {
		t.Errorf("WaitForConnect = %+v, %v", a, err)
	}
	done, err := s.c.Accounts.RetrieveConnect(ctx, link.ID)
	if err != nil || done.Status != accounts.Completed || done.BusinessAccountID != a.ID || done.Account == nil || *done.Account != a {
		t.Errorf("once it is used, RetrieveConnect = %+v, %v", done, err)
	}
	if _, err := s.c.Accounts.RetrieveConnect(ctx, "con_none"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("no connect = %v", err)
	}
}

// TestClientSessions is about a phone that nobody has linked: WhatsApp is asked
// for nothing.
func TestClientSessions(t *testing.T) {
	s := newSDKRigWith(t, true, threeRooms, func(cfg map[string]any) {
		cfg["accounts"] = append(cfg["accounts"].([]any), map[string]any{"id": "acc_phone", "kind": "linked_device", "name": "Reception"})
	})
	ctx := t.Context()
	list, err := s.c.Sessions.List(ctx)
	if err != nil || list.Total != 1 || len(list.Items) != 1 {
		t.Fatalf("List = %+v, %v", list, err)
	}
	phone := list.Items[0]
	if phone.ID != "acc_phone" || phone.Name != "Reception" || phone.Status != sessions.Disconnected || phone.Connected ||
		phone.QRCode != "" || phone.PhoneNumber != "" || phone.CreatedAt.IsZero() {
		t.Errorf("the session is %+v", phone)
	}
	got, err := s.c.Sessions.Retrieve(ctx, "acc_phone")
	if got.UpdatedAt.Before(phone.UpdatedAt) {
		t.Errorf("updated at %v, and before at %v", got.UpdatedAt, phone.UpdatedAt)
	}
	got.UpdatedAt = phone.UpdatedAt // the server looks after the link meanwhile
	if err != nil || got != phone {
		t.Errorf("Retrieve = %+v, %v, want %+v", got, err, phone)
	}
	ms := s.c.SessionMessages("acc_phone")
	if _, err := ms.SendText(ctx, "+"+ada.Phone, "Your room is ready."); !errors.Is(err, client.ErrConflict) {
		t.Errorf("a text from a phone that is not linked = %v", err)
	}
	if _, err := ms.SendMedia(ctx, "+"+ada.Phone, "image", "https://example.com/room.jpg", ""); !errors.Is(err, client.ErrValidation) {
		t.Errorf("an image = %v", err)
	}
	if err := s.c.Sessions.Delete(ctx, "acc_phone"); !errors.Is(err, client.ErrConflict) {
		t.Errorf("deleting a session of the configuration file = %v", err)
	}
	for _, id := range []string{"acc_a", "acc_none"} { // the first is none of a phone
		if _, err := s.c.Sessions.Retrieve(ctx, id); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("session %s = %v", id, err)
		}
	}
	if _, err := s.c.Sessions.Create(ctx, " "); !errors.Is(err, client.ErrValidation) {
		t.Errorf("a session without a name = %v", err)
	}
}
