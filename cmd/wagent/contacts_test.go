package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// forgetting is the calls of somebody who looks after what agents remember.
type forgetting struct {
	*world
	agent string
}

func (f forgetting) contact(phone string) string {
	f.Helper()
	var found []struct{ ID string }
	if code := f.call(http.MethodGet, "/api/v1/contacts?phone_number="+url.QueryEscape(phone), nil, &found); code != http.StatusOK || len(found) != 1 {
		f.Fatalf("%d, %d contacts", code, len(found))
	}
	return found[0].ID
}

type remembered struct {
	Summary   *string `json:"context_summary"`
	Remaining int     `json:"remaining_seconds"`
	Text      string
}

func (f forgetting) look(contact, what string) (out remembered) {
	f.Helper()
	if code := f.call(http.MethodGet, "/api/v1/contacts/"+contact+"/agents/"+f.agent+"/"+what, nil, &out); code != http.StatusOK {
		f.Fatalf("%s: %d", what, code)
	}
	return out
}

// What an agent remembers of somebody is seen with its remaining life, to the
// second, corrected and erased; the next run then knows what is left. The other
// customer's stays.
func TestWhatAnAgentRemembersIsSeenCorrectedAndErased(t *testing.T) {
	knows := func(r llmtest.Request) llmtest.Reply {
		known := "nothing"
		for _, what := range []string{"the room is 204", "has a dog", "has a cat"} {
			if strings.Contains(r.Messages[0].Content, what) {
				known += ", " + what
			}
		}
		for _, m := range r.Messages[1 : len(r.Messages)-1] { // what was said before
			if strings.Contains(m.Content, "hello again") {
				known += ", who is back"
			}
		}
		reply := output("I know "+known, "the room is 204")
		if strings.Contains(asked(r), "dog") {
			reply.Text = strings.TrimSuffix(reply.Text, "}") + `,"contact_memory":"has a dog"}`
		}
		return reply
	}
	change := func(c *config.Config) { c.Agents[0].ContactMemory, c.Agents[0].ContextTTL = 100, 10*time.Minute }
	inWorld(t, change, knows, func(w *world) {
		ids := 0
		says := func(at time.Duration, words, want string) {
			w.Helper()
			ids++
			w.at(at)
			w.post("acc_a", ada.Text("wamid."+words, words))
			w.at(at + 10*time.Second)
			sent := w.sent()
			if last := sent[len(sent)-1]; len(sent) != ids || !strings.HasSuffix(last, "I know "+want) {
				w.Errorf("to %q the agent says %q, want %q", words, last, want)
			}
		}
		says(0, "I have a dog", "nothing")
		f := forgetting{w, w.runs("acc_a")[0].Agent.String()}
		who := f.contact("+4915550001")
		if x := f.look(who, "memory"); x.Text != "has a dog" {
			w.Errorf("kept is %q", x.Text)
		}
		for _, left := range []int{600, 1, 0} {
			w.at(10*time.Second + time.Duration(600-left)*time.Second)
			x := f.look(who, "context")
			if x.Remaining != left || (x.Summary != nil) != (left > 0) {
				w.Errorf("%d seconds before its end %d remain", left, x.Remaining)
			}
		}
		says(20*time.Minute, "hello", "nothing, has a dog") // the context is over, what is kept is not
		if code := w.call(http.MethodPut, "/api/v1/contacts/"+who+"/agents/"+f.agent+"/memory", map[string]string{"text": "has a cat"}, nil); code != http.StatusOK {
			w.Fatal(code)
		}
		says(21*time.Minute, "hello again", "nothing, the room is 204, has a cat")
		if code := w.call(http.MethodDelete, "/api/v1/contacts/"+who+"/agents/"+f.agent+"/context", nil, nil); code != http.StatusNoContent {
			w.Fatal(code)
		}
		says(22*time.Minute, "and now", "nothing, has a cat")
		if code := w.call(http.MethodDelete, "/api/v1/contacts/"+who+"/context", nil, nil); code != http.StatusNoContent {
			w.Fatal(code)
		}
		if x := f.look(who, "context"); x.Summary != nil || f.look(who, "memory").Text != "" {
			w.Error("something is left")
		}
		for _, r := range w.runs("acc_a") {
			if r.Output != nil || r.Input != nil || r.Status != gateway.RunCompleted {
				w.Errorf("run %s still holds input %s and output %v", r.ID, r.Input, r.Output)
			}
		}
		keys, err := w.app.redis.Keys(w.Context(), "*:context:*").Result()
		if err != nil || len(keys) != 0 {
			w.Errorf("Redis holds %q, %v", keys, err)
		}
		says(23*time.Minute, "who am I", "nothing")
	})
}

// Beyond what the agent reads the conversation is summed up by the model that it
// names, over the wire.
func TestALongConversationIsSummedUpByItsModel(t *testing.T) {
	summaries := 0
	model := func(r llmtest.Request) llmtest.Reply {
		if r.Model == "small" {
			summaries++
			return llmtest.Reply{Text: "SUMMARY OF MANY WORDS"}
		}
		known := "no summary"
		if strings.Contains(r.Messages[0].Content, "SUMMARY OF MANY WORDS") {
			known = "the summary"
		}
		return output("I read "+known, "")
	}
	change := func(c *config.Config) {
		c.Agents[0].Compaction = gateway.Compaction{Mode: gateway.CompactionSliding, Model: "fake/small", MaxTokens: 2500}
	}
	inWorld(t, change, model, func(w *world) {
		tale := strings.Repeat("And then the lift stopped between two floors. ", 10)
		for i := range 15 {
			at := time.Duration(i) * time.Minute
			w.at(at)
			w.post("acc_a", ada.Text("wamid."+at.String(), tale))
		}
		w.at(16 * time.Minute)
		sent := w.sent()
		if len(sent) != 15 || !strings.HasSuffix(sent[0], "I read no summary") || !strings.HasSuffix(sent[14], "I read the summary") {
			w.Errorf("%d answers, from %q to %q", len(sent), sent[0], sent[len(sent)-1])
		}
		if summaries == 0 || summaries > 5 {
			w.Errorf("%d summaries were made in 15 runs", summaries)
		}
		for _, r := range w.runs("acc_a") {
			if r.InputTokens == 0 || len(r.Notes) > 0 {
				w.Errorf("run %s: %d tokens, notes %q", r.ID, r.InputTokens, r.Notes)
			}
		}
		if p := w.model.Problems(); len(p) > 0 {
			w.Errorf("the provider would have refused: %q", p)
		}
	})
}
