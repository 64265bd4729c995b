package store

import (
	"context"

	"wagent/gateway"
)

// What became of a change, in state_reason. The row of a change stays, so that
// it is known when it comes again.
const (
	reasonEditApplied   = gateway.ReasonEditApplied
	reasonEditOutdated  = gateway.ReasonEditOutdated
	reasonEditOfIgnored = gateway.ReasonEditOfIgnored
	reasonEdited        = gateway.ReasonEdited
	reasonRevokeApplied = gateway.ReasonRevokeApplied
	reasonRevokedLate   = gateway.ReasonRevokedLate
	reasonRevoked       = gateway.ReasonRevoked
)

// edit puts an edit in the place of what it changes, where no run took that
// yet. Otherwise it reports false: the edit is a message of its own, so that an
// agent is told. told reports whether a run took the message.
func (in *intake) edit(ctx context.Context, m *gateway.Message) (settled, told bool, err error) {
	rows, err := list(ctx, in.q, scanMessage, messageSelect+`WHERE account = $1 AND conversation = $2 AND contact = $3 AND external_id = $4 AND external_id <> '' AND direction = $5
		UNION ALL `+messageSelect+`WHERE conversation = $2 AND target = $4 AND target <> '' AND contact = $3 AND direction = $5`,
		m.Account, m.Conversation, m.Contact, m.Target, m.Direction)
	if err != nil {
		return false, false, err
	}
	var original, place *gateway.Message
	for i := range rows {
		x := &rows[i]
		switch {
		case !x.RevokedAt.IsZero() || x.Change == gateway.Revoke:
			settle(m, reasonRevoked)
			m.RevokedAt = in.at
			return true, false, nil
		case x.Change == gateway.Edit && x.SentAt.After(m.SentAt):
			settle(m, reasonEditOutdated)
			return true, false, nil
		case x.Change == gateway.Edit && untold(x):
			place = x // an edit that is still to be told
		case x.Change == "" && x.Part == m.Part:
			original = x
		}
		told = told || x.State == gateway.StateBatched
	}
	switch {
	case place != nil:
	case original == nil || original.State == gateway.StateBatched:
		return false, told, nil
	case original.State == gateway.StateIgnored:
		settle(m, reasonEditOfIgnored)
		return true, told, nil
	default:
		place = original
	}
	settle(m, reasonEditApplied)
	reword(place, m)
	_, err = in.q.exec(ctx, `UPDATE messages SET body = $2, type = $3, detail = $4 WHERE id = $1`, place.ID, place.Text, place.Type, place.Detail)
	return true, told, err
}

// reword makes a message say what an edit of it says. A text is the caption of
// what has another type.
func reword(m, edit *gateway.Message) {
	m.Text = edit.Text
	switch {
	case edit.Type == gateway.TypeText && m.Type != gateway.TypeText:
	case edit.Type == m.Type && len(edit.Detail) == 0:
	default:
		m.Type, m.Detail = edit.Type, edit.Detail
	}
}

// revoke deletes a message, and edits of it, for whoever has yet to read it.
func (in *intake) revoke(ctx context.Context, m *gateway.Message) error {
	const set = `UPDATE messages SET revoked_at = $6,
		state_reason = CASE WHEN state IN ('waiting', 'held') THEN 'revoked' ELSE state_reason END,
		state = CASE WHEN state IN ('waiting', 'held') THEN 'ignored' ELSE state END
		WHERE account = $1 AND conversation = $2 AND contact = $3 AND direction = $5 AND `
	late := true
	for i, which := range []string{`external_id = $4 AND external_id <> ''`, `target = $4 AND target <> '' AND change = 'edit'`} {
		gone, err := list(ctx, in.q, scanMessage, set+which+` RETURNING `+messageColumns,
			m.Account, m.Conversation, m.Contact, m.Target, m.Direction, in.at)
		if err != nil {
			return err
		}
		for k := range gone {
			if i == 0 && gone[k].State != gateway.StateBatched {
				late = false
			}
			if err := in.dropMedia(ctx, gone[k].ID); err != nil {
				return err
			}
		}
	}
	settle(m, reasonRevokeApplied)
	if late {
		m.StateReason = reasonRevokedLate
	}
	return nil
}

// changed gives a message what changes of it said, which came first. It reports
// whether nothing more is to be said of it.
func (in *intake) changed(ctx context.Context, m *gateway.Message, changes []gateway.Message) (settled bool, err error) {
	var last *gateway.Message
	for i := range changes {
		x := &changes[i]
		if x.Change == gateway.Revoke {
			settle(m, reasonRevoked)
			m.RevokedAt = in.at
			return true, nil
		}
		if last == nil || !x.SentAt.Before(last.SentAt) {
			last = x
		}
	}
	reword(m, last)
	if untold(last) && m.State != gateway.StateIgnored || m.Direction == gateway.Out {
		// The message itself can say it now.
		_, err := in.q.exec(ctx, `UPDATE messages SET state = CASE WHEN direction = 'in' THEN 'ignored' ELSE state END, state_reason = $2 WHERE id = $1`,
			last.ID, reasonEditApplied)
		return false, err
	}
	if last.State == gateway.StateBatched && m.Type == gateway.TypeText {
		settle(m, reasonEdited)
		return true, nil
	}
	return false, nil
}

// settle says that nobody is to answer m.
func settle(m *gateway.Message, reason string) {
	m.StateReason = reason
	if m.Direction == gateway.In {
		m.State = gateway.StateIgnored
	}
}

// untold reports whether a message is still to be told to somebody.
func untold(m *gateway.Message) bool {
	return m.State == gateway.StateWaiting || m.State == gateway.StateHeld
}
