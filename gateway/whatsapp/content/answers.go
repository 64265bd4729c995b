package content

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"wagent/gateway"
)

func (rd *reading) reaction() {
	m := rd.m.GetReactionMessage()
	rd.in.Type, rd.in.Text = gateway.TypeReaction, m.GetText()
	rd.in.ReplyTo = cut(m.GetKey().GetID(), maxName)
	rd.detail["emoji"] = cut(m.GetText(), maxName) // the empty one takes a reaction back
}

// poll reads a question with options. What can be chosen stays in the detail, so
// that votes can be read: see PollOptions.
func (rd *reading) poll() {
	var m *waE2E.PollCreationMessage
	for _, p := range []*waE2E.PollCreationMessage{
		rd.m.GetPollCreationMessage(), rd.m.GetPollCreationMessageV2(), rd.m.GetPollCreationMessageV3(),
		rd.m.GetPollCreationMessageV5(), rd.m.GetPollCreationMessageV6(),
	} {
		if m == nil {
			m = p
		}
	}
	lines, options := []string{"Poll: " + m.GetName()}, []string(nil)
	for _, o := range m.GetOptions()[:min(len(m.GetOptions()), maxList)] {
		options = append(options, o.GetOptionName())
		lines = append(lines, "- "+o.GetOptionName())
	}
	rd.in.Type, rd.in.Text = gateway.TypeText, join("\n", lines...)
	rd.detail.set("options", options)
	rd.detail.set("selectable", m.GetSelectableOptionsCount())
}

// PollOptions returns what can be chosen in a poll, from the Detail of its
// message; nothing if that is no poll.
func PollOptions(messageDetail json.RawMessage) []string {
	var d struct {
		Options []string `json:"options"`
	}
	if json.Unmarshal(messageDetail, &d) != nil {
		return nil
	}
	return d.Options
}

// pollVote reads what somebody chose, which may be nothing any more.
func (rd *reading) pollVote() {
	rd.in.Type = gateway.TypeInteractive
	rd.in.ReplyTo = cut(rd.m.GetPollUpdateMessage().GetPollCreationMessageKey().GetID(), maxName)
	chosen := map[string]bool{}
	for _, hash := range rd.vote.GetSelectedOptions() {
		chosen[string(hash)] = true
	}
	var names, unknown []string
	for _, o := range rd.options {
		sum := sha256.Sum256([]byte(o))
		if chosen[string(sum[:])] {
			names = append(names, o)
			delete(chosen, string(sum[:]))
		}
	}
	for _, hash := range rd.vote.GetSelectedOptions() {
		if chosen[string(hash)] && len(hash) == sha256.Size {
			unknown = append(unknown, hex.EncodeToString(hash))
		}
	}
	rd.detail.set("selected", names)
	rd.detail.set("unknown", unknown)
	switch {
	case len(names) > 0:
		rd.in.Text = join(", ", names...)
	case len(chosen) > 0:
		rd.in.Text = "voted in a poll"
	default:
		rd.in.Text = "took back a vote in a poll"
	}
}

func (rd *reading) pollOption() {
	m := rd.m.GetPollAddOptionMessage()
	rd.in.Type, rd.in.Text = gateway.TypeText, join(": ", "Added to a poll", m.GetAddOption().GetOptionName())
	rd.in.ReplyTo = cut(m.GetPollCreationMessageKey().GetID(), maxName)
}

// answered fills in the answer to something that was offered: what the person
// saw, and what it stands for.
func (rd *reading) answered(t gateway.MessageType, title, id string) {
	rd.in.Type, rd.in.Text = t, title
	if title == "" {
		rd.in.Text = id
	}
	rd.detail.set("title", title)
	rd.detail.set("id", id)
}

func (rd *reading) buttonsResponse() {
	m := rd.m.GetButtonsResponseMessage()
	rd.answered(gateway.TypeInteractive, m.GetSelectedDisplayText(), m.GetSelectedButtonID())
}

func (rd *reading) templateReply() {
	m := rd.m.GetTemplateButtonReplyMessage()
	rd.answered(gateway.TypeButton, m.GetSelectedDisplayText(), m.GetSelectedID())
}

func (rd *reading) listResponse() {
	m := rd.m.GetListResponseMessage()
	rd.answered(gateway.TypeInteractive, m.GetTitle(), m.GetSingleSelectReply().GetSelectedRowID())
	rd.detail.set("description", m.GetDescription())
}

// interactiveResponse reads the answer to buttons and lists of the newer sort, of
// which the body is what was tapped, and to forms, of which the parameters are
// what was filled in.
func (rd *reading) interactiveResponse() {
	m := rd.m.GetInteractiveResponseMessage()
	flow, body := m.GetNativeFlowResponseMessage(), m.GetBody().GetText()
	var params struct {
		ID string `json:"id"`
	}
	tapped := json.Unmarshal([]byte(flow.GetParamsJSON()), &params) == nil && params.ID != ""
	if !tapped {
		body = join("\n", body, flow.GetParamsJSON())
	}
	rd.answered(gateway.TypeInteractive, body, params.ID)
	delete(rd.detail, "title")
	rd.detail.set("name", flow.GetName())
	rd.detail.set("params", flow.GetParamsJSON())
}

// answer reads the answer to a question that somebody asked everybody.
func (rd *reading) answer() {
	text, key := rd.m.GetQuestionResponseMessage().GetText(), rd.m.GetQuestionResponseMessage().GetKey()
	if q := rd.m.GetStatusQuestionAnswerMessage(); q != nil && text == "" {
		text, key = q.GetText(), q.GetKey()
	}
	rd.in.Type, rd.in.Text = gateway.TypeText, text
	rd.in.ReplyTo = cut(key.GetID(), maxName)
}
