package content

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"wagent/gateway"
)

// buttons reads what a business offers: a text over some buttons.
func (rd *reading) buttons() {
	m := rd.m.GetButtonsMessage()
	rd.header(m.GetImageMessage(), m.GetVideoMessage(), m.GetDocumentMessage())
	var labels []string
	for _, b := range m.GetButtons() {
		labels = append(labels, b.GetButtonText().GetDisplayText())
	}
	rd.offer(labels, m.GetText(), m.GetContentText(), m.GetFooterText())
}

func (rd *reading) list() {
	m := rd.m.GetListMessage()
	var rows []string
	for _, s := range m.GetSections() {
		for _, row := range s.GetRows() {
			rows = append(rows, join(": ", row.GetTitle(), row.GetDescription()))
		}
	}
	rd.offer(rows, m.GetTitle(), m.GetDescription(), m.GetFooterText())
}

func (rd *reading) template() {
	m := rd.m.GetTemplateMessage()
	if m == nil {
		m = rd.m.GetHighlyStructuredMessage().GetHydratedHsm()
	}
	t := m.GetHydratedTemplate()
	if t == nil {
		t = m.GetHydratedFourRowTemplate()
	}
	if t == nil {
		rd.interactiveOf(m.GetInteractiveMessageTemplate())
		return
	}
	rd.header(t.GetImageMessage(), t.GetVideoMessage(), t.GetDocumentMessage())
	var labels []string
	for _, b := range t.GetHydratedButtons() {
		labels = append(labels, join("",
			b.GetQuickReplyButton().GetDisplayText(), b.GetUrlButton().GetDisplayText(), b.GetCallButton().GetDisplayText()))
	}
	rd.offer(labels, t.GetHydratedTitleText(), t.GetHydratedContentText(), t.GetHydratedFooterText())
}

func (rd *reading) interactive() { rd.interactiveOf(rd.m.GetInteractiveMessage()) }

func (rd *reading) interactiveOf(m *waE2E.InteractiveMessage) {
	h := m.GetHeader()
	rd.header(h.GetImageMessage(), h.GetVideoMessage(), h.GetDocumentMessage())
	var offered []string
	for _, b := range m.GetNativeFlowMessage().GetButtons() {
		var params struct {
			Label string `json:"display_text"`
			Title string `json:"title"`
		}
		if json.Unmarshal([]byte(b.GetButtonParamsJSON()), &params) == nil {
			offered = append(offered, join(" ", params.Label, params.Title))
		}
	}
	for _, card := range m.GetCarouselMessage().GetCards() {
		offered = append(offered, join(": ", card.GetHeader().GetTitle(), card.GetBody().GetText()))
	}
	rd.offer(offered, h.GetTitle(), h.GetSubtitle(), m.GetBody().GetText(), m.GetFooter().GetText())
}

// offer fills in paragraphs, and below them what can be tapped.
func (rd *reading) offer(labels []string, paragraphs ...string) {
	for _, l := range labels[:min(len(labels), maxList)] {
		if l != "" {
			paragraphs = append(paragraphs, "- "+l)
		}
	}
	rd.in.Type, rd.in.Text = gateway.TypeText, join("\n", paragraphs...)
}

// header attaches the file over a business's text, which has at most one.
func (rd *reading) header(image *waE2E.ImageMessage, video *waE2E.VideoMessage, document *waE2E.DocumentMessage) {
	switch {
	case image != nil:
		rd.attach("image", image, "")
	case video != nil:
		rd.attach("video", video, "")
	case document != nil:
		rd.attach("document", document, document.GetFileName())
	}
}

func (rd *reading) order() {
	m := rd.m.GetOrderMessage()
	total := price(m.GetTotalAmount1000(), m.GetTotalCurrencyCode())
	items := ""
	if n := m.GetItemCount(); n != 0 {
		items = strconv.Itoa(int(n)) + " items"
	}
	rd.in.Type, rd.in.Text = gateway.TypeOrder, join("\n", m.GetMessage(), m.GetOrderTitle(), join(", ", items, total))
	rd.detail.set("order_id", m.GetOrderID())
	rd.detail.set("token", m.GetToken())
	rd.detail.set("item_count", m.GetItemCount())
	rd.detail.set("total_1000", m.GetTotalAmount1000())
	rd.detail.set("currency", m.GetTotalCurrencyCode())
	rd.detail.set("status", strings.ToLower(m.GetStatus().String()))
}

func (rd *reading) product() {
	m := rd.m.GetProductMessage()
	p := m.GetProduct()
	title := join(": ", "Product", p.GetTitle())
	if cost := price(p.GetPriceAmount1000(), p.GetCurrencyCode()); cost != "" {
		title += " (" + cost + ")"
	}
	rd.in.Type, rd.in.Text = gateway.TypeText, join("\n", title, p.GetDescription(), m.GetBody(), m.GetFooter(), p.GetURL())
	rd.detail.set("product_id", p.GetProductID())
	rd.detail.set("retailer_id", p.GetRetailerID())
	rd.header(p.GetProductImage(), nil, nil)
}

// price writes an amount in thousandths of a currency's unit; nothing where there
// is none.
func price(amount1000 int64, currency string) string {
	if amount1000 == 0 && currency == "" {
		return ""
	}
	return join(" ", strconv.FormatFloat(float64(amount1000)/1000, 'f', -1, 64), currency)
}

// payment says that money is asked for or sent, which agents have no part in.
func (rd *reading) payment() {
	note := rd.m.GetSendPaymentMessage().GetNoteMessage()
	if m := rd.m.GetRequestPaymentMessage(); m != nil {
		note = m.GetNoteMessage()
		rd.detail.set("amount_1000", int64(min(m.GetAmount1000(), math.MaxInt64)))
		rd.detail.set("currency", m.GetCurrencyCodeIso4217())
	}
	rd.in.Text = join("\n", note.GetConversation(), note.GetExtendedTextMessage().GetText())
	rd.in.Type = gateway.TypeUnsupported
}

func (rd *reading) groupInvite() {
	m := rd.m.GetGroupInviteMessage()
	rd.in.Type, rd.in.Text = gateway.TypeText, join("\n", join(": ", "Invitation to the group", m.GetGroupName()), m.GetCaption())
	rd.detail.set("group", m.GetGroupJID())
	rd.detail.set("code", m.GetInviteCode())
	rd.detail.set("expires", m.GetInviteExpiration())
}

func (rd *reading) event() {
	m := rd.m.GetEventMessage()
	what := "Event"
	if m.GetIsCanceled() {
		what = "Event cancelled"
	}
	place := m.GetLocation()
	rd.in.Type = gateway.TypeText
	rd.in.Text = join("\n", join(": ", what, m.GetName()), span(m.GetStartTime(), m.GetEndTime()),
		join(", ", place.GetName(), place.GetAddress()), m.GetDescription(), m.GetJoinLink())
	rd.detail.set("start", m.GetStartTime())
	rd.detail.set("end", m.GetEndTime())
	rd.detail.set("cancelled", m.GetIsCanceled())
}

func (rd *reading) eventInvite() {
	m := rd.m.GetEventInviteMessage()
	what := "Invitation to an event"
	if m.GetIsCanceled() {
		what = "Event cancelled"
	}
	rd.in.Type = gateway.TypeText
	rd.in.Text = join("\n", join(": ", what, m.GetEventTitle()), span(m.GetStartTime(), m.GetEndTime()), m.GetCaption(), m.GetCallLink())
	rd.detail.set("event", m.GetEventID())
	rd.detail.set("start", m.GetStartTime())
	rd.detail.set("end", m.GetEndTime())
}

// span writes from when to when something is, in Unix seconds; nothing where that
// is not known.
func span(start, end int64) string { return join(" – ", moment(start), moment(end)) }

func moment(seconds int64) string {
	if seconds <= 0 || seconds > 253402300799 { // the year 9999
		return ""
	}
	return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04 MST")
}

// callLog reads what became of a call, once it is over.
func (rd *reading) callLog() {
	m := rd.m.GetCallLogMesssage()
	kind := "voice call"
	if m.GetIsVideo() {
		kind = "video call"
	}
	outcome := map[waE2E.CallLogMessage_CallOutcome]string{
		waE2E.CallLogMessage_CONNECTED: "", waE2E.CallLogMessage_ACCEPTED_ELSEWHERE: "", waE2E.CallLogMessage_ONGOING: "ongoing",
		waE2E.CallLogMessage_FAILED: "failed", waE2E.CallLogMessage_REJECTED: "rejected",
	}
	how, ok := outcome[m.GetCallOutcome()]
	if !ok {
		how = "missed" // or silenced
	}
	text := join(" ", how, kind)
	if s := m.GetDurationSecs(); s > 0 && s < 1<<31 {
		text += fmt.Sprintf(" of %s", time.Duration(s)*time.Second)
	}
	rd.in.Type, rd.in.Text = gateway.TypeSystem, text
	rd.detail.set("outcome", strings.ToLower(m.GetCallOutcome().String()))
	rd.detail.set("video", m.GetIsVideo())
	rd.detail.set("seconds", m.GetDurationSecs())
}

func (rd *reading) plannedCall() {
	m := rd.m.GetScheduledCallCreationMessage()
	rd.in.Type = gateway.TypeText
	rd.in.Text = join("\n", join(": ", "Planned call", m.GetTitle()), moment(m.GetScheduledTimestampMS()/1000))
	rd.detail.set("video", m.GetCallType() == waE2E.ScheduledCallCreationMessage_VIDEO)
	rd.detail.set("start", m.GetScheduledTimestampMS()/1000)
}

func (rd *reading) phoneRequest() {
	rd.in.Type, rd.in.Text = gateway.TypeSystem, "asks for your phone number"
}
