package main

import (
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
)

// limited is a world of two Cloud API accounts and a sandbox account, each with
// an agent and a contact, and of an agent that has no account, as somebody sees
// it whose key is limited.
type limited struct {
	*world
	of map[gateway.AccountID][]string // ids of agents and contacts
}

const limitedSecret = "key-of-the-reach-test"

func inReach(t *testing.T, key gateway.APIKey, play func(limited)) {
	t.Helper()
	inWorld(t, func(cfg *config.Config) {
		cfg.Accounts = append(cfg.Accounts, gateway.Account{ID: "acc_try", Kind: gateway.Sandbox, Declared: true})
	}, nil, func(w *world) {
		l, ctx, db := limited{w, map[gateway.AccountID][]string{}}, w.Context(), w.app.store
		for _, account := range []gateway.AccountID{"acc_try", ""} {
			a := gateway.DefaultAgent()
			a.Account, a.Name, a.SystemPrompt = account, "Made", "Be kind."
			if err := db.CreateAgent(ctx, &a); err != nil {
				w.Fatal(err)
			}
		}
		agents, err := db.Agents(ctx)
		if err != nil || len(agents) != 4 {
			w.Fatal(err)
		}
		for i := range agents {
			l.of[agents[i].Account] = append(l.of[agents[i].Account], agents[i].ID.String())
		}
		for account, phone := range map[gateway.AccountID]string{"acc_a": "+15550000001", "acc_b": "+15550000002", "acc_try": "+15550000003"} {
			if _, err := db.OpenConversation(ctx, account, gateway.Address{Phone: phone}); err != nil {
				w.Fatal(err)
			}
		}
		people, _, err := db.Contacts(ctx, "", "", 9)
		if err != nil || len(people) != 3 {
			w.Fatal(err)
		}
		for i := range people {
			l.of[people[i].Account] = append(l.of[people[i].Account], string(people[i].ID))
		}
		key.Name, key.Hash, key.Scope = "limited", sha256.Sum256([]byte(limitedSecret)), gateway.ScopeAdmin
		if err := db.CreateKey(ctx, &key); err != nil {
			w.Fatal(err)
		}
		play(l)
	})
}

// ask makes a request with the limited key.
func (l limited) ask(method, path, body string) (int, string) {
	l.Helper()
	req, err := http.NewRequestWithContext(l.Context(), method, "http://wagent.test/api/v1"+path, strings.NewReader(body))
	if err != nil {
		l.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+limitedSecret)
	resp, err := l.client.Do(req)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// idsIn are the ids of what is listed.
func (l limited) idsIn(path string) []string {
	l.Helper()
	code, body := l.ask(http.MethodGet, path, "")
	var list struct {
		Data []struct{ ID string }
		Meta struct{ Total int }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || code != http.StatusOK || list.Meta.Total != len(list.Data) {
		l.Fatalf("GET %s: %d %s", path, code, body)
	}
	var ids []string
	for _, d := range list.Data {
		ids = append(ids, d.ID)
	}
	return ids
}

func TestWhatALimitedKeySees(t *testing.T) {
	for name, tt := range map[string]struct {
		key gateway.APIKey
		own gateway.AccountID
	}{
		"of an account":       {gateway.APIKey{Accounts: []gateway.AccountID{"acc_a"}}, "acc_a"},
		"of sandbox accounts": {gateway.APIKey{Test: true}, "acc_try"},
	} {
		t.Run(name, func(t *testing.T) {
			inReach(t, tt.key, func(l limited) {
				got := append(l.idsIn("/agents"), l.idsIn("/contacts")...)
				if diff := cmp.Diff(l.of[tt.own], got); diff != "" {
					t.Errorf("listed (-want +got):\n%s", diff)
				}
				// Also what is served later: an account's id stands in what is bound to it.
				for _, path := range []string{"/agents", "/contacts", "/sessions", "/business_accounts", "/usage", "/webhooks", "/keys", "/audit", "/connects"} {
					code, body := l.ask(http.MethodGet, path, "")
					for _, other := range []gateway.AccountID{"acc_a", "acc_b", "acc_try"} {
						if other != tt.own && strings.Contains(body, string(other)) {
							t.Errorf("GET %s tells of %s: %d %s", path, other, code, body)
						}
					}
				}
				for account, ids := range l.of {
					for _, id := range ids {
						path := "/agents/" + id
						if strings.HasPrefix(id, "ctc_") {
							path = "/contacts/" + id
						}
						want := http.StatusNotFound
						if account == tt.own {
							want = http.StatusOK
						}
						if code, body := l.ask(http.MethodGet, path, ""); code != want {
							t.Errorf("GET %s of %q: %d %s", path, account, code, body)
						}
						if !strings.HasPrefix(id, "ctc_") && account != tt.own {
							if code, body := l.ask(http.MethodPost, path+"/runs", `{"run":{"input":"hello"}}`); code != http.StatusNotFound {
								t.Errorf("POST %s/runs of %q: %d %s", path, account, code, body)
							}
						}
					}
				}
			})
		})
	}
}

func TestWhatALimitedKeyMakesIsItsOwn(t *testing.T) {
	inReach(t, gateway.APIKey{Accounts: []gateway.AccountID{"acc_a"}}, func(l limited) {
		agent := func(account string) string {
			return `{"agent":{"name":"New","system_prompt":"Be kind.","business_account_id":` + account + `}}`
		}
		const (
			foreign = `{"error":"Validation failed","details":{"business_account_id":["does not exist"]}}`
			unbound = `{"error":"Validation failed","details":{"business_account_id":["is required, since the API key reaches some accounts only"]}}`
		)
		code, body := l.ask(http.MethodPost, "/agents", agent(`"acc_a"`))
		var made struct{ Data struct{ ID string } }
		if err := json.Unmarshal([]byte(body), &made); err != nil || code != http.StatusCreated {
			t.Fatalf("its own account: %d %s", code, body)
		}
		for name, tt := range map[string]struct {
			method, path, account, want string
		}{
			"a new agent of another account":      {http.MethodPost, "/agents", `"acc_b"`, foreign},
			"a new agent of no account":           {http.MethodPost, "/agents", `null`, unbound},
			"an agent that goes to another":       {http.MethodPatch, "/agents/" + made.Data.ID, `"acc_b"`, foreign},
			"an agent that is bound to none then": {http.MethodPatch, "/agents/" + made.Data.ID, `null`, unbound},
		} {
			if code, body := l.ask(tt.method, tt.path, agent(tt.account)); code != http.StatusUnprocessableEntity || body != tt.want {
				t.Errorf("%s: %d %s", name, code, body)
			}
		}
		if ids := l.idsIn("/agents"); len(ids) != 2 || !slices.Contains(ids, made.Data.ID) {
			t.Errorf("its agents are %v", ids)
		}
	})
}

// TestRunsStayWithTheirAccount: an agent goes from one account to another, and its
// earlier runs, which are about the first one's customers, do not go with it.
func TestRunsStayWithTheirAccount(t *testing.T) {
	inReach(t, gateway.APIKey{Accounts: []gateway.AccountID{"acc_a"}}, func(l limited) {
		agent, ok := gateway.ParseAgentID(l.of["acc_a"][0])
		if !ok {
			l.Fatal("no agent")
		}
		db := l.app.store
		var ids []gateway.RunID
		for _, account := range []gateway.AccountID{"acc_b", "acc_a"} {
			r := gateway.Run{Agent: agent, Account: account, Trigger: gateway.TriggerAPI, Input: json.RawMessage(`{}`)}
			if err := db.CreateRun(l.Context(), &r); err != nil {
				l.Fatal(err)
			}
			ids = append(ids, r.ID)
		}
		path := "/agents/" + agent.String() + "/runs"
		if got := l.idsIn(path); !slices.Equal(got, []string{string(ids[1])}) {
			l.Errorf("listed %v, want %s", got, ids[1])
		}
		decision := `{"actions":[{"index":0,"status":"confirmed"}]}`
		for i, want := range []int{http.StatusNotFound, http.StatusOK} {
			for _, below := range []string{"", "/route"} {
				if code, body := l.ask(http.MethodGet, path+"/"+string(ids[i])+below, ""); code != want {
					l.Errorf("GET run %d%s: %d %s", i, below, code, body)
				}
			}
			if code, body := l.ask(http.MethodPost, path+"/"+string(ids[i])+"/actions", decision); (code == http.StatusNotFound) != (want == http.StatusNotFound) {
				l.Errorf("deciding run %d: %d %s", i, code, body)
			}
		}
		if code, body := l.ask(http.MethodGet, path+"?before="+string(ids[0]), ""); code != http.StatusNotFound {
			l.Errorf("before a run that it may not know: %d %s", code, body)
		}
	})
}

func TestAKeyOfAllAccountsSeesAllOfThem(t *testing.T) {
	inReach(t, gateway.APIKey{}, func(l limited) {
		if n, m := len(l.idsIn("/agents")), len(l.idsIn("/contacts")); n != 4 || m != 3 {
			t.Errorf("%d agents and %d contacts", n, m)
		}
	})
}
