package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// connected makes an account whose link somebody holds.
func connected(t *testing.T, s *store.Store, id gateway.AccountID, holder string, state gateway.LinkState) {
	t.Helper()
	if err := s.PutAccount(t.Context(), gateway.Account{ID: id, Kind: gateway.LinkedDevice}); err != nil {
		t.Fatal(err)
	}
	ls, err := s.ClaimLinks(t.Context(), holder, time.Minute, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		if l.Account == id {
			l.State, l.Device = state, "device"
			err = s.SetLink(t.Context(), &l)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

const secretKey = `{"url":"https://example.com/f","key":"c2VjcmV0"}`

// photo is a message with a file.
func photo(account gateway.AccountID, id string) gateway.Arrival {
	a := arrival("+15550000001", id)
	a.Account, a.Type = account, gateway.TypeImage
	a.Attachment = &gateway.Attachment{MimeType: "image/jpeg", Name: "lamp.jpg", Size: 1234, Source: json.RawMessage(secretKey)}
	return a
}

func addPhoto(t *testing.T, s *store.Store, a gateway.Arrival) gateway.Message {
	t.Helper()
	as, err := s.AddMessages(t.Context(), []gateway.Arrival{a})
	if err != nil {
		t.Fatal(err)
	}
	return as[0].Message
}

func claimMedia(t *testing.T, s *store.Store, holder string) ([]gateway.Media, time.Time) {
	t.Helper()
	work, next, err := s.ClaimMedia(t.Context(), holder, 10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return work, next
}

func TestAFileIsFetchedAndKept(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s := storetest.At(t, cfg)
		connected(t, s, "acc_1", "me", gateway.LinkConnected)
		m := addPhoto(t, s, photo("acc_1", "3A1"))
		addPhoto(t, s, photo("acc_1", "3A1")) // once more
		var sealed string
		if err := store.DB(s).QueryRowContext(t.Context(), `SELECT source FROM media`).Scan(&sealed); err != nil || sealed == "" || strings.Contains(sealed, "key") {
			t.Errorf("the source is kept as %q, %v", sealed, err)
		}
		work, _ := claimMedia(t, s, "me")
		if len(work) != 1 || string(work[0].Source) != secretKey || work[0].Message != m.ID || work[0].Attempt != 1 || work[0].State != gateway.MediaWanted {
			t.Fatalf("claimed %+v", work)
		}
		f := work[0]
		again, next := claimMedia(t, s, "me")
		if len(again) != 0 || next.Before(time.Now().Add(50*time.Second)) || next.After(time.Now().Add(time.Minute)) {
			t.Errorf("while it is being fetched: %+v, next at %v", again, next)
		}
		f.State, f.MimeType, f.Size, f.ExpiresAt = gateway.MediaKept, "image/png", 3, time.Now().Add(time.Hour)
		if err := s.SettleMedia(t.Context(), &f, []byte{0, 255, 1}); err != nil {
			t.Fatal(err)
		}
		if err := s.SettleMedia(t.Context(), &f, []byte{7}); gateway.KindOf(err) != gateway.Conflict {
			t.Errorf("settled twice: %v", err)
		}
		kept, data, err := s.MediaByMessage(t.Context(), m.ID)
		if err != nil || kept.State != gateway.MediaKept || kept.MimeType != "image/png" || kept.Name != "lamp.jpg" || kept.Source != nil {
			t.Errorf("kept %+v, %v", kept, err)
		}
		if diff := cmp.Diff([]byte{0, 255, 1}, data); diff != "" {
			t.Errorf("bytes (-want +got):\n%s", diff)
		}
		if work, next := claimMedia(t, s, "me"); len(work) != 0 || !next.IsZero() {
			t.Errorf("when all is kept: %+v, next at %v", work, next)
		}
		if err := store.DB(s).QueryRowContext(t.Context(), `SELECT source FROM media`).Scan(&sealed); err != nil || sealed != "" {
			t.Errorf("of what is kept, the source is still %q, %v", sealed, err)
		}
		if _, _, err := s.MediaByMessage(t.Context(), "msg_none"); gateway.KindOf(err) != gateway.NotFound {
			t.Errorf("of another message: %v", err)
		}
	})
}

func TestWhoFetchesWhat(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		connected(t, s, "acc_mine", "me", gateway.LinkConnected)
		connected(t, s, "acc_theirs", "they", gateway.LinkConnected)
		connected(t, s, "acc_off", "me", gateway.LinkDisconnected)
		connected(t, s, "acc_lost", "me", gateway.LinkConnected)
		if _, err := store.DB(s).ExecContext(t.Context(), `UPDATE links SET lease_until = 1 WHERE account = 'acc_lost'`); err != nil {
			t.Fatal(err)
		}
		for _, id := range []gateway.AccountID{"acc_mine", "acc_theirs", "acc_lost", "acc_off"} {
			addPhoto(t, s, photo(id, "3A1"))
		}
		for holder, want := range map[string]gateway.AccountID{"me": "acc_mine", "they": "acc_theirs", "nobody": "", "": ""} {
			work, next := claimMedia(t, s, holder)
			switch {
			case want == "" && len(work) == 0 && next.IsZero():
			case want != "" && len(work) == 1 && work[0].Account == want:
			default:
				t.Errorf("%q claimed %+v, next at %v", holder, work, next)
			}
		}
	})
}

func TestFilesThatNobodyFetches(t *testing.T) {
	tests := map[string]struct {
		with func(*gateway.Account)
		in   func(*gateway.Arrival)
		want bool
	}{
		"of history":                    {in: func(a *gateway.Arrival) { a.Origin, a.State = gateway.OriginHistory, gateway.StateIgnored }},
		"of groups that nobody answers": {in: func(a *gateway.Arrival) { a.Peer = gateway.Address{Group: "g"} }},
		"of people whom nobody answers": {with: func(a *gateway.Account) { a.AllowFrom = []string{"+15550000009"} }},
		"of a message without one":      {in: func(a *gateway.Arrival) { a.Attachment = nil }},
		"but of what the filter refuses": {
			in: func(a *gateway.Arrival) { a.State, a.Reason = gateway.StateIgnored, "not_text" }, want: true,
		},
		"and of what we send from the phone": {in: func(a *gateway.Arrival) { a.Origin = gateway.OriginEcho }, want: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				a := gateway.Account{ID: "acc_1", Kind: gateway.LinkedDevice}
				if tt.with != nil {
					tt.with(&a)
				}
				if err := s.PutAccount(t.Context(), a); err != nil {
					t.Fatal(err)
				}
				m := photo("acc_1", "3A1")
				if tt.in != nil {
					tt.in(&m)
				}
				_, _, err := s.MediaByMessage(t.Context(), addPhoto(t, s, m).ID)
				if got := err == nil; got != tt.want || err != nil && gateway.KindOf(err) != gateway.NotFound {
					t.Errorf("is fetched: %v (%v), want %v", got, err, tt.want)
				}
			})
		})
	}
}

func TestAFileThatThePhoneIsAskedFor(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		connected(t, s, "acc_1", "me", gateway.LinkConnected)
		m := addPhoto(t, s, photo("acc_1", "3A1"))
		if _, err := s.MediaAskedFor(t.Context(), "acc_1", "3A1"); gateway.KindOf(err) != gateway.NotFound {
			t.Errorf("before it is asked for: %v", err)
		}
		work, _ := claimMedia(t, s, "me")
		f := work[0]
		stale := f
		f.State, f.NextAt, f.Source = gateway.MediaAsked, time.Now().Add(time.Hour), nil
		if err := s.SettleMedia(t.Context(), &f, nil); err != nil {
			t.Fatal(err)
		}
		if work, next := claimMedia(t, s, "me"); len(work) != 0 || next.Before(time.Now().Add(50*time.Minute)) {
			t.Errorf("while the phone is asked: %+v, next at %v", work, next)
		}
		asked, err := s.MediaAskedFor(t.Context(), "acc_1", "3A1")
		if err != nil || asked.Message != m.ID || string(asked.Source) != secretKey {
			t.Fatalf("asked for %+v, %v", asked, err)
		}
		for account, id := range map[gateway.AccountID]string{"acc_2": "3A1", "acc_1": "3A2"} {
			if _, err := s.MediaAskedFor(t.Context(), account, id); gateway.KindOf(err) != gateway.NotFound {
				t.Errorf("%s of %s: %v", id, account, err)
			}
		}
		asked.State, asked.NextAt, asked.Source = gateway.MediaWanted, time.Now(), json.RawMessage(`{"url":"new"}`)
		if err := s.SettleMedia(t.Context(), &asked, nil); err != nil {
			t.Fatal(err)
		}
		work, _ = claimMedia(t, s, "me")
		if len(work) != 1 || string(work[0].Source) != `{"url":"new"}` || work[0].Attempt != 2 {
			t.Fatalf("afterwards %+v is claimed", work)
		}
		if err := s.SettleMedia(t.Context(), &stale, nil); gateway.KindOf(err) != gateway.Conflict {
			t.Errorf("whoever was claimed over writes: %v", err)
		}
		// A phone that never answers.
		f = work[0]
		f.State, f.NextAt = gateway.MediaAsked, time.Now().Add(-time.Second)
		if err := s.SettleMedia(t.Context(), &f, nil); err != nil {
			t.Fatal(err)
		}
		if work, _ := claimMedia(t, s, "me"); len(work) != 1 || work[0].State != gateway.MediaAsked {
			t.Errorf("past its time %+v is claimed", work)
		}
	})
}

func TestADeletedMessageLosesItsFile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		connected(t, s, "acc_1", "me", gateway.LinkConnected)
		m, other := addPhoto(t, s, photo("acc_1", "3A1")), addPhoto(t, s, photo("acc_1", "3A2"))
		work, _ := claimMedia(t, s, "me")
		kept := work[1]
		kept.State, kept.ExpiresAt = gateway.MediaKept, time.Now().Add(time.Hour)
		if err := s.SettleMedia(t.Context(), &kept, []byte("x")); err != nil {
			t.Fatal(err)
		}
		for i, x := range []gateway.Message{m, other} {
			r := arrival("+15550000001", fmt.Sprint("3B", i))
			r.Change, r.Target, r.State = gateway.Revoke, x.ExternalID, gateway.StateIgnored
			addPhoto(t, s, r)
			f, data, err := s.MediaByMessage(t.Context(), x.ID)
			if err != nil || f.State != gateway.MediaGone || data != nil {
				t.Errorf("the file is %+v with %d bytes, %v", f, len(data), err)
			}
		}
		if err := s.SettleMedia(t.Context(), &work[0], nil); gateway.KindOf(err) != gateway.Conflict {
			t.Errorf("whoever was fetching it writes: %v", err)
		}
	})
}

func TestExpireMedia(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		connected(t, s, "acc_1", "me", gateway.LinkConnected)
		var ms []gateway.Message
		for i, ends := range []time.Time{time.Now().Add(-time.Second), time.Now().Add(time.Hour), {}} {
			ms = append(ms, addPhoto(t, s, photo("acc_1", fmt.Sprint("3A", i))))
			work, _ := claimMedia(t, s, "me")
			f := work[0]
			f.State, f.ExpiresAt = gateway.MediaKept, ends
			if err := s.SettleMedia(t.Context(), &f, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []int{1, 0} {
			if n, err := s.ExpireMedia(t.Context()); err != nil || n != want {
				t.Errorf("%d expired, %v, want %d", n, err, want)
			}
		}
		for i, want := range []gateway.MediaState{gateway.MediaExpired, gateway.MediaKept, gateway.MediaKept} {
			f, data, err := s.MediaByMessage(t.Context(), ms[i].ID)
			if err != nil || f.State != want || (data == nil) != (want == gateway.MediaExpired) {
				t.Errorf("file %d is %s with %q, %v", i, f.State, data, err)
			}
		}
	})
}

// Files go with the messages that they came with, and stay where those stay.
func TestFilesFollowTheirMessages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		connected(t, s, "acc_1", "me", gateway.LinkConnected)
		both := gateway.Address{Phone: "+15550000001", LID: "111"}
		twin := photo("acc_1", "3A1")
		twin.Peer = gateway.Address{LID: "111"}
		only := photo("acc_1", "3A2")
		only.Peer = twin.Peer
		kept, gone, moved := addPhoto(t, s, photo("acc_1", "3A1")), addPhoto(t, s, twin), addPhoto(t, s, only)
		if _, err := s.JoinAddresses(t.Context(), "acc_1", both); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[gateway.MessageID]bool{kept.ID: true, gone.ID: false, moved.ID: true} {
			if _, _, err := s.MediaByMessage(t.Context(), id); (err == nil) != want {
				t.Errorf("file of %s: %v, want it: %v", id, err, want)
			}
		}
	})
}

func TestOneClaimerPerFile(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s := storetest.At(t, cfg)
		connected(t, s, "acc_1", "me", gateway.LinkConnected)
		for i := range 20 {
			addPhoto(t, s, photo("acc_1", fmt.Sprint("3A", i)))
		}
		claims := make(chan int, 4)
		for range cap(claims) {
			go func() {
				n := 0
				for {
					work, _, err := s.ClaimMedia(context.WithoutCancel(t.Context()), "me", 3, time.Minute)
					if err != nil {
						t.Error(err)
					}
					if n += len(work); len(work) == 0 {
						claims <- n
						return
					}
				}
			}()
		}
		total := 0
		for range cap(claims) {
			total += <-claims
		}
		if total != 20 {
			t.Errorf("%d claims of 20 files", total)
		}
	})
}
