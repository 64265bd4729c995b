package storetest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// pairing starts one by QR.
func pairing(t *testing.T, s *store.Store) gateway.Pairing {
	t.Helper()
	return got(s.StartPairing(t.Context(), phone, gateway.ByQR, ""))(t)
}

func wantStep(t *testing.T, s *store.Store, step gateway.PairingStep) gateway.Pairing {
	t.Helper()
	p := got(s.Pairing(t.Context(), phone))(t)
	if p.Step != step {
		t.Errorf("the pairing is at %s (%s), want %s", p.Step, p.Error, step)
	}
	return p
}

func TestAPairingGoesThroughItsSteps(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		link(t, s, nil)
		_, err := s.Pairing(t.Context(), phone)
		wantKind(t, err, gateway.NotFound)
		p := got(s.StartPairing(t.Context(), phone, gateway.ByCode, "+15559999999"))(t)
		if p.Account != phone || p.Step != gateway.StepWanted || p.Method != gateway.ByCode || p.Phone != "+15559999999" || p.CreatedAt.IsZero() {
			t.Errorf("started %+v", p)
		}
		at := time.Now().UTC().Truncate(time.Millisecond)
		step := func(step gateway.PairingStep, with func(*gateway.Pairing)) {
			t.Helper()
			// All that was ever known: what its step does not need goes.
			p.QR, p.Code, p.Options = "2@abc,def", "ABCD-1234", json.RawMessage(`{"challenge":"x"}`)
			p.Step, p.ExpiresAt, p.Error = step, at.Add(time.Minute), "try again"
			must(t, s.SetPairing(t.Context(), &p))
			want := p
			want.QR, want.Code, want.Options = "", "", nil
			with(&want)
			read := wantStep(t, s, step)
			want.UpdatedAt = read.UpdatedAt
			equal(t, string(step), read, want)
		}
		step(gateway.StepQR, func(w *gateway.Pairing) { w.QR = p.QR })
		step(gateway.StepCode, func(w *gateway.Pairing) { w.Code = p.Code })
		step(gateway.StepPasskey, func(w *gateway.Pairing) { w.Options = p.Options })
		must(t, s.AnswerPairing(t.Context(), phone, json.RawMessage(`{"id":"1"}`)))
		step(gateway.StepPasskey, func(w *gateway.Pairing) { w.Options, w.Answer = p.Options, json.RawMessage(`{"id":"1"}`) })
		step(gateway.StepConfirm, func(w *gateway.Pairing) { w.Code = p.Code })
		must(t, s.ConfirmPairing(t.Context(), phone))
		step(gateway.StepConfirm, func(w *gateway.Pairing) { w.Code, w.Confirmed = p.Code, true })
		step(gateway.StepDone, func(w *gateway.Pairing) { w.Confirmed = true })
		p.Step = gateway.StepQR
		wantKind(t, s.SetPairing(t.Context(), &p), gateway.Conflict)
		wantStep(t, s, gateway.StepDone)
	})
}

func TestWhatMayBePaired(t *testing.T) {
	tests := map[string]struct {
		account gateway.AccountID
		method  gateway.PairingMethod
		phone   string
		kind    gateway.Kind // 0: it is started
	}{
		"no such account":             {"acc_none", gateway.ByQR, "", gateway.NotFound},
		"not a linked device":         {sandbox, gateway.ByQR, "", gateway.Invalid},
		"a code for nobody":           {phone, gateway.ByCode, "", gateway.Invalid},
		"by other means":              {phone, "pigeon", "", gateway.Invalid},
		"linked already":              {"acc_linked", gateway.ByQR, "", gateway.Conflict},
		"linked, about to log out":    {"acc_leaving", gateway.ByQR, "", gateway.Conflict},
		"by the picture":              {phone, gateway.ByQR, "", 0},
		"by the code":                 {phone, gateway.ByCode, "+15559999999", 0},
		"logged out, so that it must": {"acc_out", gateway.ByQR, "", 0},
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		for _, id := range []gateway.AccountID{phone, "acc_linked", "acc_leaving", "acc_out"} {
			link(t, s, func(a *gateway.Account) { a.ID = id })
		}
		for _, l := range hold(t, s, "a") {
			if l.Account != phone {
				set(t, s, l, gateway.LinkConnected)
			}
			switch l.Account {
			case "acc_leaving":
				must(t, s.AskLogout(t.Context(), l.Account))
			case "acc_out":
				l.State, l.Device = gateway.LinkLoggedOut, ""
				must(t, s.SetLink(t.Context(), &l))
			}
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				_, err := s.StartPairing(t.Context(), tt.account, tt.method, tt.phone)
				if tt.kind == 0 {
					must(t, err)
					return
				}
				wantKind(t, err, tt.kind)
			})
		}
	})
}

func TestAnotherPairingEndsTheFirst(t *testing.T) {
	for name, step := range map[string]gateway.PairingStep{
		"that nobody took": gateway.StepWanted, "whose process died": gateway.StepQR, "that waits for a person": gateway.StepConfirm,
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				link(t, s, nil)
				hold(t, s, "a")
				first := pairing(t, s)
				if step != gateway.StepWanted {
					first.Step, first.QR, first.ExpiresAt = step, "2@abc", time.Now().Add(-time.Hour)
					must(t, s.SetPairing(t.Context(), &first))
				}
				second := pairing(t, s)
				if second.ID == first.ID || second.QR != "" {
					t.Errorf("the second is %+v", second)
				}
				equal(t, "under way", got(s.OpenPairings(t.Context(), "a"))(t), []gateway.Pairing{second})
				wantKind(t, s.SetPairing(t.Context(), &first), gateway.Conflict)
				wantKind(t, s.AnswerPairing(t.Context(), phone, nil), gateway.Conflict)
				wantKind(t, s.ConfirmPairing(t.Context(), phone), gateway.Conflict)
				equal(t, "the newest", got(s.Pairing(t.Context(), phone))(t), second)
				second.Step = gateway.StepDone
				must(t, s.SetPairing(t.Context(), &second))
				equal(t, "under way at the end", len(got(s.OpenPairings(t.Context(), "a"))(t)), 0)
			})
		})
	}
}

func TestAPairingIsForWhoeverHoldsTheLink(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		link(t, s, nil)
		p := pairing(t, s)
		open := func(holder string, want int) {
			t.Helper()
			if ps := got(s.OpenPairings(t.Context(), holder))(t); len(ps) != want || want == 1 && ps[0].ID != p.ID {
				t.Errorf("for %q there are %+v", holder, ps)
			}
		}
		open("", 0)
		open("a", 0)
		hold(t, s, "a")
		open("a", 1)
		open("b", 0)
		lapse(t, s, "a")
		open("a", 0)
		hold(t, s, "b")
		open("b", 1)
		must(t, s.ReleaseLinks(t.Context(), "b"))
		open("b", 0)
		open("", 0)
	})
}

func TestPeopleAnswerOnlyWhatIsAsked(t *testing.T) {
	steps := map[gateway.PairingStep]struct{ answer, confirm bool }{
		gateway.StepWanted: {}, gateway.StepQR: {}, gateway.StepCode: {}, gateway.StepPasskey: {answer: true}, gateway.StepConfirm: {confirm: true},
		gateway.StepDone: {}, gateway.StepFailed: {}, gateway.StepExpired: {},
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		link(t, s, nil)
		wantKind(t, s.ConfirmPairing(t.Context(), phone), gateway.Conflict)
		for step, may := range steps {
			t.Run(string(step), func(t *testing.T) {
				p := pairing(t, s)
				p.Step = step
				must(t, s.SetPairing(t.Context(), &p))
				for do, may := range map[string]struct {
					err error
					may bool
				}{
					"answer":  {s.AnswerPairing(t.Context(), phone, json.RawMessage(`{}`)), may.answer},
					"confirm": {s.ConfirmPairing(t.Context(), phone), may.confirm},
				} {
					if may.may && may.err != nil || !may.may && gateway.KindOf(may.err) != gateway.Conflict {
						t.Errorf("%s: %v", do, may.err)
					}
				}
				if read := wantStep(t, s, step); read.Confirmed != may.confirm || (read.Answer != nil) != may.answer {
					t.Errorf("on record is %+v", read)
				}
			})
		}
	})
}

func TestPairingSecretsAreSealedAndForgotten(t *testing.T) {
	dir := t.TempDir()
	s := storetest.At(t, store.Config{Path: filepath.Join(dir, "wagent.db"), Key: storetest.Key})
	link(t, s, nil)
	p := pairing(t, s)
	secrets := []string{"2@the-ref,noise,identity,adv", "CODE-5678", `{"challenge":"of-the-passkey"}`, `{"signature":"of-the-owner"}`}
	for _, step := range []gateway.PairingStep{gateway.StepQR, gateway.StepCode, gateway.StepPasskey} {
		p.Step, p.QR, p.Code, p.Options, p.Error = step, secrets[0], secrets[1], json.RawMessage(secrets[2]), "said in the open"
		must(t, s.SetPairing(t.Context(), &p))
	}
	must(t, s.AnswerPairing(t.Context(), phone, json.RawMessage(secrets[3])))
	must(t, s.Close())
	var all []byte
	for _, f := range got(os.ReadDir(dir))(t) {
		all = append(all, got(os.ReadFile(filepath.Join(dir, f.Name())))(t)...)
	}
	if !bytes.Contains(all, []byte("said in the open")) {
		t.Fatal("the files do not hold what was written")
	}
	for i, secret := range secrets {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("the database file holds secret %d in the clear", i)
		}
	}
}

func TestReplicasStartOnePairing(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		a := storetest.At(t, cfg)
		b := storetest.At(t, cfg)
		link(t, a, nil)
		hold(t, a, "a")
		var mu sync.Mutex
		var started []int64
		var wg sync.WaitGroup
		for i := range 8 {
			s := []*store.Store{a, b}[i%2]
			wg.Go(func() {
				p, err := s.StartPairing(t.Context(), phone, gateway.ByQR, "")
				if err != nil {
					if gateway.KindOf(err) != gateway.Unavailable { // one SQLite file is not made for several processes
						t.Error(err)
					}
					return
				}
				mu.Lock()
				defer mu.Unlock()
				started = append(started, p.ID)
			})
		}
		wg.Wait()
		open := got(a.OpenPairings(t.Context(), "a"))(t)
		newest := got(a.Pairing(t.Context(), phone))(t)
		if len(started) < 2 || len(open) != 1 || open[0].ID != newest.ID {
			t.Errorf("of %v these are under way: %+v", started, open)
		}
	})
}
