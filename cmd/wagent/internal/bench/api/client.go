package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// callNames are the calls that are made in turn.
var callNames = [...]string{"list agents", "retrieve agent", "list runs", "retrieve run"}

// A client asks the program over HTTP.
type client struct {
	base, key string
	http      *http.Client
	agents    []string // their ids
	runs      [][2]string
	listed    int // bytes of the list of agents
}

// ask makes a call and returns the answer's body, which must have that status.
func (c *client) ask(ctx context.Context, method, path, body string, status int) ([]byte, error) {
	var b bytes.Buffer
	err := c.read(ctx, &b, method, path, body, status)
	return b.Bytes(), err
}

// read makes a call and writes the answer's body to out.
func (c *client) read(ctx context.Context, out io.Writer, method, path, body string, status int) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, resp.Body)
	_ = resp.Body.Close() // what goes wrong shows in Copy
	if err == nil && resp.StatusCode != status {
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return err
}

// call makes the call with that number. Agents and runs are taken from all over,
// so that none is warm because it was asked for a moment ago.
func (c *client) call(ctx context.Context, i int) error {
	const stride = 7919 // a prime
	kind, n := i%len(callNames), i/len(callNames)*stride
	agent, run := c.agents[n%len(c.agents)], c.runs[n%len(c.runs)]
	path := [...]string{"/agents", "/agents/" + agent, "/agents/" + agent + "/runs", "/agents/" + run[0] + "/runs/" + run[1]}[kind]
	return c.read(ctx, io.Discard, http.MethodGet, path, "", http.StatusOK)
}

// agentOf is what is known of the agent with a number: as long as such prompts are.
func agentOf(i int) string {
	prompt := strings.Repeat("You are the concierge of a small hotel. Answer in the guest's language, kindly and briefly. ", 4)
	b, _ := json.Marshal(map[string]any{"agent": map[string]any{ // strings and numbers only
		"name": fmt.Sprintf("Concierge %d", i), "description": "Answers guests.", "system_prompt": prompt, "model": "scripted/default",
		"allowed_actions": []string{"hospitality.room_service.request", "hospitality.housekeeping.request"},
		"payload_schema":  []map[string]any{{"name": "room_number", "field_type": "text", "required": true}, {"name": "description", "field_type": "text"}},
	}})
	return string(b)
}

// fill makes agents over the API, has a run of one completed, and multiplies it.
func (b *Bench) fill(ctx context.Context, c *client, d *database) error {
	c.agents = make([]string, b.Agents)
	making, in := errgroup.WithContext(ctx)
	making.SetLimit(8)
	for i := range c.agents {
		making.Go(func() error {
			answer, err := c.ask(in, http.MethodPost, "/agents", agentOf(i), http.StatusCreated)
			if err != nil {
				return err
			}
			var made idBody
			err = json.Unmarshal(answer, &made)
			c.agents[i] = made.Data.ID
			return err
		})
	}
	if err := making.Wait(); err != nil {
		return err
	}
	run, err := c.complete(ctx, c.agents[0])
	if err != nil {
		return err
	}
	if err := d.multiply(ctx, run, b.Runs-1); err != nil {
		return err
	}
	if c.runs, err = d.someRuns(ctx); err != nil {
		return err
	}
	list, err := c.ask(ctx, http.MethodGet, "/agents", "", http.StatusOK)
	c.listed = len(list)
	return err
}

type idBody struct {
	Data struct{ ID, Status string }
}

// complete has the agent answer, and returns its run.
func (c *client) complete(ctx context.Context, agent string) (string, error) {
	answer, err := c.ask(ctx, http.MethodPost, "/agents/"+agent+"/runs", `{"run":{"input":"Could somebody clean room 204?","metadata":{"source":"bench"}}}`, http.StatusCreated)
	if err != nil {
		return "", err
	}
	var run idBody
	if err := json.Unmarshal(answer, &run); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := c.ask(ctx, http.MethodGet, "/agents/"+agent+"/runs/"+run.Data.ID, "", http.StatusOK)
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(answer, &run); err != nil {
			return "", err
		}
		switch run.Data.Status {
		case "completed":
			return run.Data.ID, nil
		case "failed":
			return "", fmt.Errorf("a run of the scripted model failed: %.500s", answer)
		}
		<-tick.C
	}
}
