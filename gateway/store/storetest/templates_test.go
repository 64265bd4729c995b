package storetest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// hello is a template as Meta has it.
func hello(name string, status gateway.TemplateStatus) gateway.Template {
	return gateway.Template{
		Account: cloud, ExternalID: "id of " + name, Name: name, Language: "en", Category: gateway.TemplateUtility, Status: status,
		Components: json.RawMessage(`[{"type":"BODY","text":"Hello"}]`),
	}
}

// names lists the account's templates.
func names(t *testing.T, s *store.Store, f gateway.TemplateFilter) []string {
	t.Helper()
	ts, total, err := s.Templates(t.Context(), cloud, f, 100)
	must(t, err)
	if total != len(ts) {
		t.Errorf("%d templates of %d", len(ts), total)
	}
	var out []string
	for _, one := range ts {
		out = append(out, one.Name+" "+string(one.Status))
	}
	return out
}

// toldOf seeds the store and has its webhook told of templates. What it returns
// lists what the webhook was told since it was asked last.
func toldOf(t *testing.T, s *store.Store) func() []string {
	t.Helper()
	seed(t, s)
	s.TellOfTemplates(func(hooks []gateway.Webhook, one *gateway.Template, _ time.Time) []gateway.Delivery {
		return []gateway.Delivery{{
			Webhook: hooks[0].ID, Event: gateway.EventTemplateStatus, Action: -1,
			Body: json.RawMessage(fmt.Sprintf("%q", one.Name+" "+string(one.Status)+" "+one.Reason)),
		}}
	})
	return func() []string {
		t.Helper()
		var out []string
		for _, d := range toDeliver(t, s) {
			out = append(out, string(d.Body))
			delivered(t, s, d)
		}
		slices.Sort(out)
		return out
	}
}

func update(name string, status gateway.TemplateStatus, at time.Time) gateway.TemplateUpdate {
	return gateway.TemplateUpdate{
		Account: cloud, ExternalID: "id of " + name, Name: name, Language: "en", Category: gateway.TemplateUtility, Status: status, At: at,
	}
}

func TestATemplateIsFoundAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		one := hello("hello", gateway.TemplatePending)
		must(t, s.PutTemplate(t.Context(), &one))
		found := got(s.TemplateByID(t.Context(), cloud, one.ID))(t)
		equal(t, "template", found, one)
		want := hello("hello", gateway.TemplatePending)
		equal(t, "template", found, want, cmpopts.IgnoreFields(gateway.Template{}, "ID", "CreatedAt", "UpdatedAt", "SyncedAt"))
		if one.ID == "" || one.CreatedAt.IsZero() || one.SyncedAt.IsZero() || !one.UpdatedAt.Equal(one.CreatedAt) {
			t.Errorf("put %+v", one)
		}
		for name, ask := range map[string]struct {
			account gateway.AccountID
			id      gateway.TemplateID
		}{"another account's": {sandbox, one.ID}, "nobody's": {cloud, "tpl_1"}} {
			_, err := s.TemplateByID(t.Context(), ask.account, ask.id)
			if gateway.KindOf(err) != gateway.NotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
		lost := hello("lost", gateway.TemplatePending)
		lost.Account = "acc_nobody"
		wantKind(t, s.PutTemplate(t.Context(), &lost), gateway.NotFound)
		must(t, s.RemoveTemplate(t.Context(), sandbox, one.ID))
		equal(t, "after another account removed it", names(t, s, gateway.TemplateFilter{}), []string{"hello pending"})
		must(t, s.RemoveTemplate(t.Context(), cloud, one.ID))
		must(t, s.RemoveTemplate(t.Context(), cloud, one.ID))
		equal(t, "after it was removed", names(t, s, gateway.TemplateFilter{}), nil)
	})
}

func TestTemplatesAreFiltered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		for name, status := range map[string]gateway.TemplateStatus{"b": gateway.TemplatePending, "a": gateway.TemplateApproved, "c": gateway.TemplateApproved} {
			one := hello(name, status)
			if name == "c" {
				one.Category = gateway.TemplateMarketing
			}
			must(t, s.PutTemplate(t.Context(), &one))
		}
		for want, f := range map[string]gateway.TemplateFilter{
			"[a approved b pending c approved]": {},
			"[a approved c approved]":           {Status: gateway.TemplateApproved},
			"[c approved]":                      {Category: gateway.TemplateMarketing},
			"[b pending]":                       {Status: gateway.TemplatePending, Category: gateway.TemplateUtility},
			"[]":                                {Status: gateway.TemplateRejected},
		} {
			if list := fmt.Sprint(names(t, s, f)); list != want {
				t.Errorf("%+v lets %s through, want %s", f, list, want)
			}
		}
		ts, total, err := s.Templates(t.Context(), cloud, gateway.TemplateFilter{}, 2)
		must(t, err)
		if len(ts) != 2 || total != 3 {
			t.Errorf("%d templates of %d", len(ts), total)
		}
	})
}

func TestASyncReplacesWhatIsKnown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		told := toldOf(t, s)
		kept, gone := hello("kept", gateway.TemplatePending), hello("gone", gateway.TemplateApproved)
		must(t, s.PutTemplate(t.Context(), &kept))
		must(t, s.PutTemplate(t.Context(), &gone))
		is := hello("kept", gateway.TemplateRejected)
		is.Reason, is.Components = "INVALID_FORMAT", json.RawMessage(`[]`)
		twice := hello("fresh", gateway.TemplateApproved)
		asOf := time.Now().Add(time.Second) // all that was made was made before
		must(t, s.SyncTemplates(t.Context(), cloud, asOf, []gateway.Template{is, twice, twice}))
		equal(t, "templates", names(t, s, gateway.TemplateFilter{}), []string{"fresh approved", "kept rejected"})
		now := got(s.TemplateByID(t.Context(), cloud, kept.ID))(t)
		if now.Reason != "INVALID_FORMAT" || string(now.Components) != "[]" || now.UpdatedAt.Before(kept.UpdatedAt) || !now.CreatedAt.Equal(kept.CreatedAt) {
			t.Errorf("the one that Meta changed is %+v", now)
		}
		equal(t, "told", told(), []string{`"kept rejected INVALID_FORMAT"`})
		must(t, s.SyncTemplates(t.Context(), cloud, asOf, []gateway.Template{is, twice}))
		again := got(s.TemplateByID(t.Context(), cloud, kept.ID))(t)
		if !again.UpdatedAt.Equal(now.UpdatedAt) {
			t.Errorf("a sync without news changed %+v", again)
		}
		equal(t, "told again", told(), nil)
		wantKind(t, s.SyncTemplates(t.Context(), "acc_nobody", asOf, nil), gateway.NotFound)
	})
}

func TestASyncKeepsWhatWasMadeSinceItAsked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		asOf := time.Now()
		during := hello("during", gateway.TemplatePending)
		must(t, s.PutTemplate(t.Context(), &during))
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{update("told", gateway.TemplateApproved, asOf)}))
		must(t, s.SyncTemplates(t.Context(), cloud, asOf, []gateway.Template{hello("fresh", gateway.TemplateApproved)}))
		equal(t, "templates", names(t, s, gateway.TemplateFilter{}), []string{"during pending", "fresh approved", "told approved"})
	})
}

func TestASyncDoesNotUndoWhatMetaToldMeanwhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		told := toldOf(t, s)
		promo, gone := hello("promo", gateway.TemplatePending), hello("gone", gateway.TemplatePending)
		must(t, s.PutTemplate(t.Context(), &promo))
		must(t, s.PutTemplate(t.Context(), &gone))
		asOf := time.Now()
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{update("promo", gateway.TemplateApproved, asOf)}))
		equal(t, "told", told(), []string{`"promo approved "`})
		must(t, s.SyncTemplates(t.Context(), cloud, asOf, []gateway.Template{hello("promo", gateway.TemplatePending)}))
		equal(t, "templates", names(t, s, gateway.TemplateFilter{})[0:], []string{"gone pending", "promo approved"})
		equal(t, "told again", told(), nil)
	})
}

func TestAnOlderSyncUndoesNoNewerOne(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		told := toldOf(t, s)
		promo := hello("promo", gateway.TemplatePending)
		promo.CreatedAt = time.Now().Add(-time.Hour)
		must(t, s.PutTemplate(t.Context(), &promo))
		asOf := time.Now().Add(-time.Second)
		must(t, s.SyncTemplates(t.Context(), cloud, time.Now().Add(time.Millisecond), []gateway.Template{hello("promo", gateway.TemplateApproved)}))
		must(t, s.SyncTemplates(t.Context(), cloud, asOf, []gateway.Template{hello("promo", gateway.TemplatePending)}))
		equal(t, "templates", names(t, s, gateway.TemplateFilter{}), []string{"promo approved"})
		equal(t, "told", told(), []string{`"promo approved "`})
	})
}

func TestWebhooksAreToldOfATemplatesStatusOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		told := toldOf(t, s)
		one := hello("hello", gateway.TemplatePending)
		must(t, s.PutTemplate(t.Context(), &one))
		first := time.Now().Truncate(time.Second)
		approved := update("hello", gateway.TemplateApproved, first)
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{approved, approved}))
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{approved}))
		equal(t, "told", told(), []string{`"hello approved "`})
		if now := got(s.TemplateByID(t.Context(), cloud, one.ID))(t); now.Status != gateway.TemplateApproved || string(now.Components) != string(one.Components) {
			t.Errorf("the template is %+v", now)
		}
		paused := update("hello", gateway.TemplatePaused, first.Add(2*time.Second))
		paused.Reason = "FIRST_PAUSE"
		late := update("hello", gateway.TemplateRejected, first.Add(time.Second))
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{paused, late}))
		equal(t, "told of what came late", told(), []string{`"hello paused FIRST_PAUSE"`})
	})
}

func TestReplicasThatAreToldAtOnceTellOnce(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		first, second := storetest.At(t, cfg), storetest.At(t, cfg)
		told := toldOf(t, first)
		toldOf(t, second)
		us := []gateway.TemplateUpdate{update("a", gateway.TemplateApproved, time.Now()), update("b", gateway.TemplatePaused, time.Now())}
		var all errgroup.Group
		for i := range 8 {
			s := []*store.Store{first, second}[i%2]
			mine := slices.Clone(us)
			if i > 3 {
				slices.Reverse(mine)
			}
			all.Go(func() error { return s.ApplyTemplateUpdates(t.Context(), mine) })
			all.Go(func() error {
				return s.SyncTemplates(t.Context(), cloud, time.Now().Add(-time.Minute), []gateway.Template{hello("a", gateway.TemplateApproved)})
			})
		}
		must(t, all.Wait())
		// Where a sync came first, a was approved when it was first known.
		if list := strings.Join(told(), ", "); list != `"a approved ", "b paused "` && list != `"b paused "` {
			t.Errorf("told %s", list)
		}
	})
}

func TestAnUpdateOfATemplateThatIsNotKnownBringsIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		told := toldOf(t, s)
		approved := update("hello", gateway.TemplateApproved, time.Time{})
		nobodys, gone := approved, update("gone", gateway.TemplateDeleted, time.Now())
		nobodys.Account = "acc_nobody"
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{approved, approved, nobodys, gone}))
		equal(t, "templates", names(t, s, gateway.TemplateFilter{}), []string{"hello approved"})
		equal(t, "told", told(), []string{`"hello approved "`})
		// It was made over the API, and Meta was faster than we.
		made := hello("hello", gateway.TemplatePending)
		must(t, s.PutTemplate(t.Context(), &made))
		if made.Status != gateway.TemplateApproved || made.Components == nil {
			t.Errorf("the template is %+v", made)
		}
		equal(t, "told of what was made", told(), nil)
	})
}

func TestATemplateThatMetaDeletedIsForgotten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		told := toldOf(t, s)
		one := hello("hello", gateway.TemplateApproved)
		must(t, s.PutTemplate(t.Context(), &one))
		earlier := update("hello", gateway.TemplateDeleted, time.Now())
		earlier.ExternalID = "id of an earlier one"
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{earlier}))
		equal(t, "templates", names(t, s, gateway.TemplateFilter{}), []string{"hello approved"})
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{update("hello", gateway.TemplateDeleted, time.Now())}))
		equal(t, "templates", names(t, s, gateway.TemplateFilter{}), nil)
		equal(t, "told", told(), []string{`"hello deleted "`})
	})
}
