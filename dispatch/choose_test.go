package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"wagent/context/prompt"
	"wagent/debounce"
	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/dispatch/route"
	"wagent/dispatch/route/pick"
	"wagent/dispatch/route/router"
	"wagent/gateway"
)

// desk is an Answerer that says which agent answers, in that agent's language.
type desk struct {
	before func(ctx context.Context) error
}

func (d desk) Answer(ctx context.Context, a *gateway.Agent, _ prompt.Prompt) (agent.Answer, error) {
	if d.before != nil {
		if err := d.before(ctx); err != nil {
			return agent.Answer{}, err
		}
	}
	language := "en"
	if len(a.Route.Languages) > 0 {
		language = a.Route.Languages[0]
	}
	return agent.Answer{Output: gateway.Output{Intent: "test", Language: language, SuggestedReply: a.Name, Actions: []gateway.OutputAction{}}, InputTokens: 7, OutputTokens: 5}, nil
}

// switchboard is a Router that a test writes.
type switchboard struct {
	asked  int
	among  []string
	handle string
	answer func(ctx context.Context, among []*gateway.Agent) (router.Choice, error)
}

func (s *switchboard) Ask(ctx context.Context, handle string, among []*gateway.Agent, _ []gateway.Message) (router.Choice, error) {
	s.asked++
	s.handle, s.among = handle, nil
	for _, a := range among {
		s.among = append(s.among, a.Name)
	}
	return s.answer(ctx, among)
}

// last chooses the youngest agent that may be chosen.
func last(_ context.Context, among []*gateway.Agent) (router.Choice, error) {
	return router.Choice{Agent: among[len(among)-1], InputTokens: 40, OutputTokens: 3}, nil
}

// staff is a front desk, and others with rules, in order of age.
func staff(rules map[string]gateway.RouteRule, names ...string) func(*settings) {
	return func(s *settings) {
		s.agent.Name, s.agent.ContextTTL = "front", 10*time.Minute
		for _, name := range names {
			a := s.agent
			a.Key, a.Name, a.Route = name, name, rules[name]
			s.others = append(s.others, a)
		}
		s.parts = func(p *dispatch.Parts) { p.Answerer = desk{} }
	}
}

var rules = map[string]gateway.RouteRule{
	"bills":  {Keywords: []string{"invoice", "bill"}},
	"french": {Languages: []string{"fr"}},
	"vip":    {Tags: []string{"vip"}},
	"night":  {Hours: gateway.HoursClosed},
}

// answers checks who answered, and why, all runs so far.
func (r *rig) answers(want ...string) {
	r.Helper()
	var out []string
	for _, x := range r.runs() {
		if x.Output == nil {
			out = append(out, string(x.Status))
			continue
		}
		out = append(out, x.Output.SuggestedReply+": "+x.Routed)
	}
	equal(r.T, "answers", out, want)
}

func TestRulesDecideWhoAnswers(t *testing.T) {
	inRig(t, nil, staff(rules, "bills", "french", "vip"), func(r *rig) {
		r.answered(ada, "Good evening to you")
		r.answered(ada, "Where is my INVOICE?")
		r.answered(ada, "it is of May") // the dialogue goes on
		r.answered(bob, "Est-ce que vous avez une table pour deux ce soir ?")
		r.answered(bob, "204") // its language is that of the last answer
		got(r.db.SetContactTags(r.Context(), account, gateway.Address{Phone: ada}, []string{"vip"}))(t)
		r.answered(ada, "and now?")
		r.at(9*time.Minute + 59*time.Second)
		r.answered(bob, "205")
		r.answers("front: default", "bills: keyword", "bills: sticky", "french: language", "french: language", "vip: tag", "french: language")
		r.counts("wagent_runs_routed_total", map[string]float64{"default": 1, "keyword": 1, "sticky": 1, "language": 3, "tag": 1})
		if n := r.log.count("routed=keyword"); n != 1 {
			t.Errorf("%d lines of the log tell of the keyword", n)
		}
	})
}

// A message says itself in which language it is; what was answered before counts where
// it has too few words.
func TestALanguageIsThatOfTheMessage(t *testing.T) {
	inRig(t, nil, staff(rules, "french"), func(r *rig) {
		r.answered(bob, "Est-ce que vous avez une table pour deux ce soir ?")
		r.answered(bob, "204")
		r.answered(bob, "Perdone, prefiero hablar en español: ¿tienen ustedes una mesa para dos personas esta noche?")
		r.answers("french: language", "french: language", "front: default")
	})
}

// Who answers a run that was called back is decided by all that it then has.
func TestARunThatIsCalledBackIsRoutedAgain(t *testing.T) {
	for name, crash := range map[string]bool{"by a newer message": false, "by one that came while its process was dead": true} {
		t.Run(name, func(t *testing.T) {
			n := 0
			slow := func(s *settings) {
				staff(rules, "bills")(s)
				superseding(3)(s)
				s.parts = func(p *dispatch.Parts) {
					p.Answerer = desk{before: func(ctx context.Context) error {
						if n++; n > 1 {
							return nil
						}
						<-ctx.Done()
						return ctx.Err()
					}}
				}
			}
			inRig(t, nil, slow, func(r *rig) {
				m := r.write(ada, "hello")
				ctx, end := context.WithCancelCause(r.Context())
				defer end(nil)
				done := r.begin(ctx, m.Conversation)
				r.at(time.Second)
				equal(r.T, "at first", r.runs()[0].Routed, "default")
				if crash {
					end(context.Canceled)
					<-done
				}
				r.write(ada, "where is my invoice?")
				if !crash {
					end(debounce.ErrRecalled)
					<-done
				}
				r.at(10 * time.Minute)
				must(r.T, r.handle(r.Context(), m.Conversation))
				r.answers("bills: keyword")
			})
		})
	}
}

func TestADialogueEndsWithItsContext(t *testing.T) {
	tests := map[string]struct {
		wait time.Duration
		want string
	}{
		"a millisecond before": {10*time.Minute - time.Millisecond, "bills: sticky"},
		"when it is forgotten": {10 * time.Minute, "front: default"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, nil, staff(rules, "bills"), func(r *rig) {
				r.answered(ada, "my bill")
				r.at(tt.wait)
				r.answered(ada, "thank you")
				r.answers("bills: keyword", tt.want)
			})
		})
	}
	t.Run("at once for an agent that remembers nothing", func(t *testing.T) {
		forgetful := func(s *settings) { staff(rules, "bills")(s); s.others[0].ContextTTL = 0 }
		inRig(t, nil, forgetful, func(r *rig) {
			r.answered(ada, "my bill")
			r.answered(ada, "thank you")
			r.answers("bills: keyword", "front: default")
		})
	})
}

// Both hours are told by the clock on the wall, on the days when it is changed
// too. The year is that of the bubble.
func TestHoursAreTheAccounts(t *testing.T) {
	daily := func(s gateway.Span) gateway.Hours {
		h := gateway.Hours{}
		for d := time.Sunday; d <= time.Saturday; d++ {
			h[d] = []gateway.Span{s}
		}
		return h
	}
	day := daily(gateway.Span{From: 9 * 60, To: 18 * 60})
	tests := map[string]struct {
		zone string
		at   string // UTC
		want string
	}{
		"Paris in winter, before six":            {"Europe/Paris", "2000-01-03T16:59:59Z", "front: default"},
		"Paris in winter, at six":                {"Europe/Paris", "2000-01-03T17:00:00Z", "night: hours"},
		"the eve of summer time":                 {"Europe/Paris", "2000-03-25T16:30:00Z", "front: default"},
		"and the day after, an hour earlier":     {"Europe/Paris", "2000-03-26T16:30:00Z", "night: hours"},
		"which begins earlier as well":           {"Europe/Paris", "2000-03-26T07:00:00Z", "front: default"},
		"New York at that moment":                {"America/New_York", "2000-03-26T16:30:00Z", "front: default"},
		"the eve of summer time in New York":     {"America/New_York", "2000-04-01T13:30:00Z", "night: hours"},
		"which was too early, but not next day":  {"America/New_York", "2000-04-02T13:30:00Z", "front: default"},
		"the last day of summer time there":      {"America/New_York", "2000-10-28T22:30:00Z", "night: hours"},
		"and the first of winter, an hour later": {"America/New_York", "2000-10-29T22:30:00Z", "front: default"},
		"without a zone it is UTC":               {"", "2000-01-03T17:59:59Z", "front: default"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			at := got(time.Parse(time.RFC3339, tt.at))(t)
			open := func(s *settings) {
				staff(rules, "night")(s)
				s.place.TimeZone, s.place.Hours = tt.zone, day
			}
			inRig(t, nil, open, func(r *rig) {
				r.at(at.Sub(r.start))
				r.answered(ada, "hello")
				r.answers(tt.want)
			})
		})
	}
}

func TestARouterDecidesWhatNoRuleDoes(t *testing.T) {
	asking := func(s *switchboard) func(*settings) {
		return func(x *settings) {
			staff(rules, "bills", "vip", "rooms")(x)
			x.place.Router = "fake/router"
			x.parts = func(p *dispatch.Parts) { p.Answerer, p.Picker.Ask = desk{}, s.Ask }
		}
	}
	t.Run("once in a dialogue", func(t *testing.T) {
		s := &switchboard{answer: last}
		inRig(t, nil, asking(s), func(r *rig) {
			run := r.answered(ada, "a double, please")
			r.answered(ada, "with a view")
			r.answered(ada, "send an invoice")
			r.answers("rooms: router", "rooms: sticky", "bills: keyword")
			equal(t, "asked", s.asked, 1)
			equal(t, "handle", s.handle, "fake/router")
			equal(t, "among", s.among, []string{"front", "bills", "rooms"})
			if run.InputTokens != 47 || run.OutputTokens != 8 {
				t.Errorf("the run cost %d and %d tokens, want the router's among them", run.InputTokens, run.OutputTokens)
			}
		})
	})
	t.Run("or the default agent answers where it fails", func(t *testing.T) {
		s := &switchboard{answer: func(context.Context, []*gateway.Agent) (router.Choice, error) {
			return router.Choice{InputTokens: 40}, errors.New("nonsense")
		}}
		inRig(t, nil, asking(s), func(r *rig) {
			run := r.answered(ada, "a double, please")
			r.answers("front: router_failed")
			if run.InputTokens != 47 || r.log.count("router did not choose") != 1 {
				t.Errorf("the run cost %d tokens, and the log says so %d times", run.InputTokens, r.log.count("router did not choose"))
			}
		})
	})
	t.Run("for that message: of the next one it is asked again", func(t *testing.T) {
		s := &switchboard{}
		s.answer = func(ctx context.Context, among []*gateway.Agent) (router.Choice, error) {
			if s.asked == 1 {
				return router.Choice{}, errors.New("busy")
			}
			return last(ctx, among)
		}
		inRig(t, nil, asking(s), func(r *rig) {
			r.answered(ada, "a double, please")
			r.answered(ada, "with a view")
			r.answered(ada, "for two")
			r.answers("front: router_failed", "rooms: router", "rooms: sticky")
		})
	})
	t.Run("but is not asked where there is one to choose", func(t *testing.T) {
		s := &switchboard{answer: last}
		inRig(t, nil, func(x *settings) { asking(s)(x); x.others = x.others[1:2] }, func(r *rig) { // vip
			r.answered(ada, "hello")
			r.answers("front: default")
			equal(t, "asked", s.asked, 0)
		})
	})
	t.Run("nor where the account has none", func(t *testing.T) {
		s := &switchboard{answer: last}
		inRig(t, nil, func(x *settings) { asking(s)(x); x.place.Router = "" }, func(r *rig) {
			r.answered(ada, "hello")
			r.answers("front: default")
			equal(t, "asked", s.asked, 0)
		})
	})
}

// No model is asked for an agent whose limit is reached, the router's included.
func TestARouterDoesNotChooseWhoSpentTheirTokens(t *testing.T) {
	tests := map[string]struct {
		spent []string
		asked int
		among []string
		want  string
	}{
		"one of three":           {[]string{"rooms"}, 1, []string{"front", "bills"}, "bills: router"},
		"the default agent":      {[]string{"front"}, 1, []string{"bills", "rooms"}, "rooms: router"},
		"all but one":            {[]string{"front", "rooms"}, 0, nil, "bills: stand_in"},
		"all but the default":    {[]string{"bills", "rooms"}, 0, nil, "front: default"},
		"everybody, which tells": {[]string{"front", "bills", "rooms"}, 0, nil, "failed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &switchboard{answer: last}
			inRig(t, nil, func(x *settings) {
				staff(rules, "bills", "rooms")(x)
				x.place.Router = "fake/router"
				x.parts = func(p *dispatch.Parts) { p.Answerer, p.Picker.Ask = desk{}, s.Ask }
				x.agent.Spend.TokensPerDay = 10
				for i := range x.others {
					x.others[i].Spend.TokensPerDay = 10
				}
			}, func(r *rig) {
				for _, a := range got(r.db.Agents(r.Context()))(t) {
					if slices.Contains(tt.spent, a.Name) {
						x := gateway.Run{Agent: a.ID, Account: account, Trigger: gateway.TriggerAPI, Input: []byte(`"hi"`)}
						must(t, r.db.CreateRun(r.Context(), &x))
					}
				}
				stop := r.serve(r.d.Run)
				stop()
				r.at(time.Minute)
				n := len(r.runs())
				run := r.answered(ada, "a double, please")
				how := string(run.Status)
				if run.Output != nil {
					how = run.Output.SuggestedReply + ": " + run.Routed
				}
				equal(t, "runs before", n, len(tt.spent))
				equal(t, "answer", how, tt.want)
				equal(t, "asked", s.asked, tt.asked)
				equal(t, "among", s.among, tt.among)
				stopped := map[string]float64{}
				if tt.want == "failed" {
					equal(t, "stop reason", run.StopReason, gateway.StopSpent)
					equal(t, "tokens", run.InputTokens, 0)
					stopped["tokens_per_day"] = 1
				}
				r.counts("wagent_spend_limits_reached_total", stopped)
			})
		})
	}
}

func TestACrashBetweenRoutingAndTheEndKeepsTheAgent(t *testing.T) {
	s := &switchboard{answer: last}
	broken := true
	crashing := func(x *settings) {
		staff(rules, "rooms")(x)
		x.place.Router = "fake/router"
		x.parts = func(p *dispatch.Parts) {
			p.Picker.Ask = s.Ask
			p.Answerer = desk{before: func(context.Context) error {
				if broken {
					panic("the process dies here")
				}
				return nil
			}}
		}
	}
	inRig(t, nil, crashing, func(r *rig) {
		m := r.write(ada, "a double, please")
		if err := r.handle(r.Context(), m.Conversation); err == nil {
			t.Fatal("Handle = nil, want what became of the panic")
		}
		first := r.run(gateway.RunRunning, "", 1)
		if first.Routed != route.ByRouter || first.InputTokens != 40 {
			t.Errorf("after the crash the run is routed by %q, and cost %d tokens", first.Routed, first.InputTokens)
		}
		// Meanwhile its agent gets a rule that would send it elsewhere.
		agents := got(r.db.Agents(r.Context()))(t)
		agents[1].Route.Keywords = []string{"something else"}
		agents[0].Route.Keywords = []string{"double"}
		place := got(r.db.Account(r.Context(), account))(t)
		must(t, r.db.Declare(r.Context(), []gateway.Account{place}, agents, nil, nil))
		broken = false
		must(t, r.handle(r.Context(), m.Conversation))
		r.answers("rooms: router")
		equal(t, "asked", s.asked, 1)
		second := r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
		if second.Agent != first.Agent || second.InputTokens != 47 {
			t.Errorf("the second attempt is by %s for %d tokens, the first was by %s", second.Agent, second.InputTokens, first.Agent)
		}
	})
}

func TestAShutdownWhileTheRouterThinksLeavesTheRunUnrouted(t *testing.T) {
	s := &switchboard{}
	s.answer = func(ctx context.Context, among []*gateway.Agent) (router.Choice, error) {
		if s.asked > 1 {
			return last(ctx, among)
		}
		<-ctx.Done()
		return router.Choice{}, ctx.Err()
	}
	slow := func(x *settings) {
		staff(rules, "rooms")(x)
		x.place.Router = "fake/router"
		x.parts = func(p *dispatch.Parts) { p.Answerer, p.Picker.Ask = desk{}, s.Ask }
	}
	inRig(t, nil, slow, func(r *rig) {
		m := r.write(ada, "hello")
		ctx, cancel := context.WithCancel(r.Context())
		done := r.begin(ctx, m.Conversation)
		cancel()
		if err := <-done; err == nil {
			t.Error("Handle = nil, want an error")
		}
		if run := r.run(gateway.RunRunning, "", 1); run.Routed != "" {
			t.Errorf("the run is routed by %q", run.Routed)
		}
		if r.log.count("router did not choose") != 0 {
			t.Error("the router is blamed for it in the log")
		}
		must(t, r.handle(r.Context(), m.Conversation))
		r.answers("rooms: router")
	})
}

func TestAnAgentThatWasSwitchedOffGivesItsRunToAnother(t *testing.T) {
	broken := true
	crashing := func(x *settings) {
		staff(rules, "bills", "rooms")(x)
		x.parts = func(p *dispatch.Parts) {
			p.Answerer = desk{before: func(context.Context) error {
				if broken {
					panic("the process dies here")
				}
				return nil
			}}
		}
	}
	inRig(t, nil, crashing, func(r *rig) {
		m := r.write(ada, "my bill")
		if err := r.handle(r.Context(), m.Conversation); err == nil {
			t.Fatal("Handle = nil, want what became of the panic")
		}
		agents := got(r.db.Agents(r.Context()))(t)
		agents[1].Active = false
		place := got(r.db.Account(r.Context(), account))(t)
		must(t, r.db.Declare(r.Context(), []gateway.Account{place}, agents, nil, nil))
		broken = false
		must(t, r.handle(r.Context(), m.Conversation))
		r.answers("front: default")
	})
}

// stolen is a run that another claim takes just before it is routed.
type stolen struct {
	pick.Runs
	before func()
}

func (s stolen) RouteRun(ctx context.Context, r *gateway.Run) error {
	s.before()
	return s.Runs.RouteRun(ctx, r)
}

func TestARunThatWasLostBeforeItWasRoutedIsLeftToWhoHasIt(t *testing.T) {
	var taken gateway.Claim
	var r *rig
	losing := func(x *settings) {
		staff(rules, "bills")(x)
		parts := x.parts
		x.parts = func(p *dispatch.Parts) {
			parts(p)
			p.Picker.Runs = stolen{p.Picker.Runs, func() {
				run := r.run(gateway.RunRunning, "", 1)
				must(r.T, r.db.RenewRun(r.Context(), run.ID, run.Generation, time.Now()))
				taken = got(r.db.ClaimRun(r.Context(), run.Conversation, lease))(r.T)
			}}
		}
	}
	inRig(t, nil, losing, func(x *rig) {
		r = x
		m := r.write(ada, "my bill")
		must(t, r.handle(r.Context(), m.Conversation))
		run := r.run(gateway.RunRunning, "", 2)
		if run.Generation != taken.Run.Generation || run.Routed != "" {
			t.Errorf("the run is of generation %d (%q), want the other claim's, %d", run.Generation, run.Routed, taken.Run.Generation)
		}
		r.says(m.Conversation)
	})
}
