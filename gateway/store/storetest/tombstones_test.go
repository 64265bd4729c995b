package storetest_test

import (
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestAnUpdateDoesNotBringBackATemplateThatIsGone(t *testing.T) {
	for name, remove := range map[string]func(t *testing.T, s *store.Store, one *gateway.Template){
		"it was deleted over the API": func(t *testing.T, s *store.Store, one *gateway.Template) {
			must(t, s.RemoveTemplate(t.Context(), cloud, one.ID))
		},
		"a sync did not find it": func(t *testing.T, s *store.Store, _ *gateway.Template) {
			must(t, s.SyncTemplates(t.Context(), cloud, time.Now().Add(2*time.Second), nil))
		},
		"Meta told that it was deleted": func(t *testing.T, s *store.Store, _ *gateway.Template) {
			must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{update("hello", gateway.TemplateDeleted, time.Now())}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				told := toldOf(t, s)
				first := time.Now().Truncate(time.Second)
				approved := update("hello", gateway.TemplateApproved, first)
				one := hello("hello", gateway.TemplatePending)
				must(t, s.PutTemplate(t.Context(), &one))
				must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{approved}))
				remove(t, s, &one)
				told()
				late, unnamed := update("hello", gateway.TemplatePaused, first.Add(time.Minute)), approved
				unnamed.ExternalID = ""
				must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{approved, unnamed, late}))
				equal(t, "after what was told again", names(t, s, gateway.TemplateFilter{}), nil)
				equal(t, "told", told(), nil)

				again := hello("hello", gateway.TemplatePending)
				again.ExternalID = "another id"
				must(t, s.PutTemplate(t.Context(), &again))
				must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{approved, late}))
				equal(t, "after one was made anew", names(t, s, gateway.TemplateFilter{}), []string{"hello pending"})
				approved.ExternalID = again.ExternalID
				must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{approved}))
				equal(t, "after that was approved", names(t, s, gateway.TemplateFilter{}), []string{"hello approved"})
				if now := got(s.TemplateByID(t.Context(), cloud, again.ID))(t); now.ExternalID != again.ExternalID {
					t.Errorf("the template is %+v", now)
				}
			})
		})
	}
}

func TestWhatMetaToldOfATemplateBeforeItsDeletionMayComeAfter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		told := toldOf(t, s)
		at := time.Now()
		gone := update("hello", gateway.TemplateDeleted, at)
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{gone, gone}))
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{update("hello", gateway.TemplateApproved, at.Add(-time.Minute))}))
		equal(t, "templates", names(t, s, gateway.TemplateFilter{}), nil)
		equal(t, "told", told(), nil)
	})
}

func TestASyncBringsBackWhatMetaHasAndNotWhatWasDeletedMeanwhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		one := hello("hello", gateway.TemplateApproved)
		must(t, s.PutTemplate(t.Context(), &one))
		asOf := time.Now()
		must(t, s.RemoveTemplate(t.Context(), cloud, one.ID))
		there := []gateway.Template{hello("hello", gateway.TemplateApproved)}
		must(t, s.SyncTemplates(t.Context(), cloud, asOf, there))
		equal(t, "a list that was read before it was deleted", names(t, s, gateway.TemplateFilter{}), nil)
		must(t, s.SyncTemplates(t.Context(), cloud, time.Now().Add(2*time.Second), there))
		equal(t, "a list that was read after", names(t, s, gateway.TemplateFilter{}), []string{"hello approved"})
		must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{update("hello", gateway.TemplatePaused, time.Now())}))
		equal(t, "what Meta told of it then", names(t, s, gateway.TemplateFilter{}), []string{"hello paused"})
	})
}
