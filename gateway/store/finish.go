package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"wagent/gateway"
)

// FinishRun writes the end of a run and all that follows from it: actions,
// sends with their messages, deliveries, a pause, what is to be kept of the
// contact and of older turns. It fills the ids and times that f lacks. Conflict,
// and nothing is written: the run has ended or is in other hands, or its
// conversation is paused. ErrSuperseded, and nothing of f is written but its
// tokens: a newer message waits that calls the run back, as by SupersedeRun.
//
// The end of a run that answers a conversation is on disk before anything of it
// is claimed to be sent, and, where something is to be delivered, when FinishRun
// returns. A PostgreSQL that crashes before that, within a second, may forget it: the
// run is then claimed again when its lease ends.
func (s *Store) FinishRun(ctx context.Context, f *gateway.Finish) error {
	r := &f.Run
	if r.Status != gateway.RunCompleted && r.Status != gateway.RunFailed {
		return fmt.Errorf("finish run %s: %s is not an end", r.ID, r.Status)
	}
	if r.CompletedAt.IsZero() {
		r.CompletedAt = now()
	}
	superseded := false // which is written
	err := s.inTx(ctx, func(q queries) (err error) {
		superseded = false
		if r.Conversation == "" {
			return s.writeFinish(ctx, q, f, false)
		}
		newer, forgotten, err := mayAnswer(ctx, q, r.Conversation, len(f.Deliveries) == 0)
		if err != nil {
			return err
		}
		if newer { // which is seldom: most runs are locked by their own update
			if err := lockRun(ctx, q, r.ID, r.Generation); err != nil {
				return err
			}
			if superseded, err = maySupersede(ctx, q, r.Account, r.Conversation); err != nil {
				return err
			}
		}
		if superseded {
			return supersede(ctx, q, r)
		}
		return s.writeFinish(ctx, q, f, forgotten)
	})
	if err == nil && superseded {
		err = gateway.ErrSuperseded
	}
	return s.fail(err, "finish run %s", r.ID)
}

// writeFinish writes the end of a run. Where a person had the context erased
// meanwhile, nothing comes back that ForgetContext erases.
func (s *Store) writeFinish(ctx context.Context, q queries, f *gateway.Finish, forgotten bool) error {
	head := ended(&f.Run)
	if forgotten {
		head = forgot(f)
	}
	beside := addedActions(&f.Run)
	if len(f.Sends) > 0 {
		beside = append(beside, addedSend(&f.Sends[0], f.Run.ID)...)
	}
	n, err := q.together(ctx, head, beside...)
	for i := 1; i < len(f.Sends) && n > 0 && err == nil; i++ { // in their order, which what goes together has not
		for _, x := range addedSend(&f.Sends[i], f.Run.ID) {
			if err == nil {
				_, err = q.exec(ctx, x.query, x.args...)
			}
		}
	}
	switch {
	case err == nil && n == 0:
		return lostRun(f.Run.ID)
	case err != nil && q.unique(err): // what follows from it is there already
		return &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("run %s has ended", f.Run.ID), Err: err}
	case err != nil:
		return err
	}
	if f.Pause != nil { // before f.Deliveries, which tell of it, tell of what is over
		if err := s.endPauses(ctx, q, f.Pause.Conversation); err != nil {
			return err
		}
	}
	if err := insertDeliveries(ctx, q, f.Deliveries); err != nil {
		return err
	}
	if err := learn(ctx, q, f); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	if f.Summary != nil {
		if err := renewSummary(ctx, q, f.Summary); err != nil {
			return fmt.Errorf("summary: %w", err)
		}
	}
	if f.Pause != nil {
		_, err := putPause(ctx, q, f.Pause)
		return err
	}
	return nil
}

// mayAnswer locks a conversation that an agent may answer, or returns
// Conflict. lazily: the commit does not wait for the disk. It reports whether a message waits there that may call the run back,
// and whether a person had erased what the run knows.
func mayAnswer(ctx context.Context, q queries, id gateway.ConversationID, lazily bool) (newer, forgotten bool, err error) {
	err = lockConversation(ctx, q, id)
	if gateway.KindOf(err) == gateway.NotFound {
		return false, false, &gateway.Error{Kind: gateway.Conflict, Msg: "The conversation became one with another", Err: err}
	}
	if err != nil {
		return false, false, err
	}
	var is bool
	when := `''`
	if lazily {
		when = q.lazily
	}
	_, err = one(ctx, q, func(r row) (struct{}, error) { return struct{}{}, r.Scan(&is, &newer, &forgotten, new(string)) },
		`SELECT EXISTS (`+pauseOf+`), EXISTS (`+waitingOf+`), EXISTS (`+forgottenOf+`), `+when, id, now())
	if err == nil && is {
		err = &gateway.Error{Kind: gateway.Conflict, Msg: "The conversation is paused"}
	}
	return newer, forgotten, err
}

// forgot takes out of the end of a run what people have erased, and returns the
// statement that ends it. What waits for a person's confirmation stays.
func forgot(f *gateway.Finish) statement {
	r := &f.Run
	f.Memory, f.Summary = nil, nil
	r.Input, r.Output, r.Notes = nil, nil, []string{"what was read and said is not kept: a person had the context erased meanwhile"}
	for i := range r.Actions {
		if r.Actions[i].Status != gateway.ActionPending {
			r.Actions[i].Payload = nil
		}
	}
	head := ended(r)
	if r.Status == gateway.RunCompleted {
		r.Output = &gateway.Output{Actions: []gateway.OutputAction{}} // for who copies it
	}
	return head
}

// ended is the statement that ends a run, if it is in hand under its generation.
func ended(r *gateway.Run) statement {
	var output any = ""
	if r.Output != nil {
		output = asJSON{r.Output}
	}
	return statement{`UPDATE runs SET agent = $2, status = $3, lease_until = 0, input = $4, metadata = $5, output = $6, stop_reason = $7,
			error = $8, notes = $9, model = $10, input_tokens = $11, output_tokens = $12, latency_ms = $13, duration_ms = $14,
			actions_decided = $15, completed_at = $16, routed = $17, confirm = $18 WHERE id = $1 AND generation = $19 AND status = 'running'`, []any{
		r.ID, r.Agent, r.Status, r.Input, r.Metadata, output, r.StopReason,
		r.Error,
		asJSON{r.Notes},
		r.Model, r.InputTokens, r.OutputTokens, r.Latency, r.Duration,
		r.ActionsDecided, r.CompletedAt, r.Routed, r.Confirm, r.Generation,
	}}
}

// addedSend are the statements that put a message in the outbox, and on record.
func addedSend(x *gateway.Send, run gateway.RunID) []statement {
	if x.ID == "" {
		x.ID = gateway.NewMessageID()
	}
	if x.CreatedAt.IsZero() {
		x.CreatedAt = now()
	}
	if x.Type == "" {
		x.Type = gateway.TypeText
	}
	x.State = gateway.SendReady
	return []statement{
		{`INSERT INTO sends (id, account, conversation, to_phone, to_lid, to_group, origin, origin_id, part, body, reply_to,
			state, attempt, unknowns, next_at, deadline, answers, external_id, error, created_at, type, content)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, $13, 0, $14, '', '', $15, $16, $17)`, []any{
			x.ID, x.Account, x.Conversation, x.To.Phone, x.To.LID, x.To.Group, x.Origin, x.OriginID, x.Part, x.Text, x.ReplyTo,
			x.State, x.NextAt, x.Answers, x.CreatedAt, x.Type, x.Content,
		}},
		addedMessage(&gateway.Message{
			ID: x.ID, Account: x.Account, Conversation: x.Conversation, Direction: gateway.Out, Type: x.Type,
			Text: x.Text, Detail: x.Content, ReplyTo: x.ReplyTo, SentAt: x.CreatedAt, ReceivedAt: x.CreatedAt, Status: gateway.StatusQueued, Run: run,
		}, gateway.Origin(x.Origin)),
	}
}

// insertDeliveries adds what is not there yet.
func insertDeliveries(ctx context.Context, q queries, ds []gateway.Delivery) error {
	for i := range ds {
		d := &ds[i]
		if d.Webhook == 0 || d.Event == "" {
			return errors.New("a delivery needs a webhook and an event")
		}
		if d.ID == "" {
			d.ID = gateway.NewDeliveryID()
		}
		if d.CreatedAt.IsZero() {
			d.CreatedAt = now()
		}
		d.State = gateway.DeliveryPending
		q.deliver(d.Webhook)
	}
	for some := range slices.Chunk(ds, insertedAtOnce) {
		rows := make([][]any, len(some))
		for i := range some {
			d := &some[i]
			rows[i] = []any{d.ID, d.Webhook, d.Event, d.Run, d.Action, d.Conversation, d.Body, d.NextAt, d.CreatedAt}
		}
		made, args := q.table(1, rows, "TEXT", "BIGINT", "TEXT", "TEXT", "BIGINT", "TEXT", "TEXT", "BIGINT", "BIGINT")
		if _, err := q.exec(ctx, `INSERT INTO deliveries (id, webhook, event, run, action_index, conversation, body, state, attempt, next_at, created_at)
			SELECT column1, column2, column3, column4, column5, column6, column7, 'pending', 0, column8, column9
			FROM `+made+` WHERE TRUE
			ON CONFLICT (webhook, event, run, action_index) DO NOTHING`, args...); err != nil {
			return fmt.Errorf("add deliveries: %w", err)
		}
	}
	return nil
}

// insertedAtOnce is how many deliveries one statement adds, at most.
const insertedAtOnce = 256
