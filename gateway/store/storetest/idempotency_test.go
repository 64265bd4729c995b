package storetest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func request(key, fingerprint string) gateway.IdempotentRequest {
	return gateway.IdempotentRequest{Who: "ops", Key: key, Request: fingerprint}
}

func claimRequest(t *testing.T, s *store.Store, key, fingerprint string, lease time.Duration, want bool) gateway.IdempotentRequest {
	t.Helper()
	r := request(key, fingerprint)
	claimed, err := s.ClaimRequest(t.Context(), &r, lease)
	must(t, err)
	if claimed != want {
		t.Fatalf("claimed: %v, want %v: %+v", claimed, want, r)
	}
	return r
}

func TestRequestsAreClaimedAnsweredAndReplayed(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s, other := storetest.At(t, cfg), storetest.At(t, cfg)
		r := claimRequest(t, s, "k", "one", time.Minute, true)
		if r.ID == "" || r.Status != 0 || time.Until(r.Until) > time.Minute || time.Until(r.Until) < time.Minute-10*time.Second {
			t.Errorf("the claim is %+v", r)
		}
		equal(t, "what another process finds of it", claimRequest(t, other, "k", "one", time.Minute, false), r)

		r.Status, r.Body = 201, `{"data":{"secret":"whsec_shown-once"}}`
		must(t, s.AnswerRequest(t.Context(), &r))
		found := claimRequest(t, other, "k", "two", time.Minute, false)
		equal(t, "the answer", found, r, cmpopts.EquateApproxTime(time.Second))
		if left := time.Until(found.Until); left < 24*time.Hour-10*time.Second || left > 24*time.Hour {
			t.Errorf("the answer is kept for %v", left)
		}
		claimRequest(t, other, "k2", "one", time.Minute, true) // no other key is in its way

		again := r
		wantKind(t, s.AnswerRequest(t.Context(), &again), gateway.Conflict)
		must(t, s.ReleaseRequest(t.Context(), &r)) // it is answered: nothing to give up
		claimRequest(t, other, "k", "one", time.Minute, false)
	})
}

// TestWhoClaimsOverFencesOff: the slow one can neither answer nor give up what
// is somebody else's by then.
func TestWhoClaimsOverFencesOff(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		slow := claimRequest(t, s, "k", "one", -time.Second, true)
		quick := claimRequest(t, s, "k", "one", time.Minute, true)
		if quick.ID != slow.ID || quick.Generation <= slow.Generation {
			t.Errorf("claimed over with %+v from %+v: the same ID, and a higher generation", quick, slow)
		}
		slow.Status = 200
		wantKind(t, s.AnswerRequest(t.Context(), &slow), gateway.Conflict)
		must(t, s.ReleaseRequest(t.Context(), &slow))
		claimRequest(t, s, "k", "one", time.Minute, false)

		must(t, s.ReleaseRequest(t.Context(), &quick))
		again := claimRequest(t, s, "k", "one", -time.Second, true)
		if again.ID != slow.ID {
			t.Error("what was given up, and is tried again, has another ID")
		}
		claimRequest(t, s, "k", "two", time.Minute, false) // nobody knows how far it came whose lease is over
		must(t, s.ReleaseRequest(t.Context(), &again))
		if next := claimRequest(t, s, "k", "two", time.Minute, true); next.ID == slow.ID {
			t.Error("another request under the key has the ID of the one that was given up")
		}
	})
}

// TestANewProcessNeedNotWaitForTheDead: nobody else uses an embedded database.
func TestANewProcessNeedNotWaitForTheDead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		dead := claimRequest(t, s, "k", "one", time.Minute, true)
		must(t, s.ReleaseLeases(t.Context()))
		if r := claimRequest(t, s, "k", "one", time.Minute, true); r.ID != dead.ID {
			t.Errorf("the ID was %s and is %s", dead.ID, r.ID)
		}
	})
}

func TestWhatIsForgottenOfRequests(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		answered := claimRequest(t, s, "answered", "one", time.Minute, true)
		answered.Status = 204
		must(t, s.AnswerRequest(t.Context(), &answered))
		given := claimRequest(t, s, "given up", "one", time.Minute, true)
		must(t, s.ReleaseRequest(t.Context(), &given))
		claimRequest(t, s, "in hand", "one", time.Minute, true)
		must(t, s.ForgetRequests(t.Context()))
		claimRequest(t, s, "answered", "one", time.Minute, false)
		claimRequest(t, s, "in hand", "one", time.Minute, false)
		if r := claimRequest(t, s, "given up", "one", time.Minute, true); r.ID != given.ID {
			t.Error("what was given up a moment ago is forgotten: a repetition does not find what it made")
		}
	})
}

func TestARunIsMadeOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := got(s.Agents(t.Context()))(t)[0]
		make := func(input string) gateway.Run {
			r := gateway.Run{ID: gateway.RunIDOf("abc"), Agent: a.ID, Trigger: gateway.TriggerAPI, Input: json.RawMessage(input)}
			must(t, s.CreateRun(t.Context(), &r))
			return r
		}
		make(`"first"`)
		claimed, _, err := s.ClaimRuns(t.Context(), 10, time.Minute)
		must(t, err)
		if again := make(`"second"`); string(again.Input) != `"first"` || again.Status != gateway.RunRunning || again.Generation != claimed[0].Generation {
			t.Errorf("made again, the run is %+v", again)
		}
		if _, n, err := s.Runs(t.Context(), gateway.RunFilter{Agent: a.ID, Limit: 10}); err != nil || n != 1 {
			t.Errorf("there are %d runs, %v", n, err)
		}
	})
}
