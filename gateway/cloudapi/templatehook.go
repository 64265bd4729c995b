package cloudapi

import (
	"context"
	"strings"
	"time"

	"wagent/gateway"
)

// templateField is the webhook field that tells of templates' statuses
// (Webhooks for WhatsApp, "message_template_status_update"). A change of it
// names the business account, in its entry, and no number. Meta tells it to an
// app that subscribed to it beside messages.
const templateField = "message_template_status_update"

// templateStatuses are Meta's statuses, and those of its events that leave a
// template in one, as the agents API knows them. A template that was flagged can
// still be sent.
var templateStatuses = map[string]gateway.TemplateStatus{
	"PENDING":          gateway.TemplatePending,
	"IN_APPEAL":        gateway.TemplatePending,
	"APPROVED":         gateway.TemplateApproved,
	"FLAGGED":          gateway.TemplateApproved,
	"REINSTATED":       gateway.TemplateApproved,
	"UNARCHIVED":       gateway.TemplateApproved,
	"UNLOCKED":         gateway.TemplateApproved,
	"REJECTED":         gateway.TemplateRejected,
	"LIMIT_EXCEEDED":   gateway.TemplateRejected,
	"PAUSED":           gateway.TemplatePaused,
	"LOCKED":           gateway.TemplatePaused,
	"DISABLED":         gateway.TemplateDisabled,
	"ARCHIVED":         gateway.TemplateDisabled,
	"DELETED":          gateway.TemplateDeleted,
	"PENDING_DELETION": gateway.TemplateDeleted,
}

// owns reports whether a change belongs to an account of ours whose secret
// signed it.
func (b *book) owns(c *change, signers map[gateway.Secret]bool) bool {
	if c.field == templateField {
		return len(b.business(c.waba, signers)) > 0
	}
	return b.account(c.number, signers).state == owned
}

// business returns the accounts of a WhatsApp business account whose secret
// signed.
func (b *book) business(waba string, signers map[gateway.Secret]bool) []gateway.Account {
	var out []gateway.Account
	for i := range b.businesses[waba] {
		if a := &b.businesses[waba][i]; signers[a.Cloud.AppSecret] {
			out = append(out, *a)
		}
	}
	return out
}

// sortTemplate adds to the delivery what a change says of a template, for each
// account that has it.
func (h *Handler) sortTemplate(ctx context.Context, d *delivery, c *change, owners []gateway.Account) {
	if len(owners) == 0 {
		h.log.WarnContext(ctx, "template status of a business account that is not ours, or signed with another's secret, refused", "waba_id", short(c.waba))
		d.refused++
		return
	}
	u, ok := c.template(time.Now())
	if !ok {
		h.log.WarnContext(ctx, "template status not understood", "account", owners[0].ID, "event", word(c.value.text("event")))
		return
	}
	for i := range owners {
		u.Account = owners[i].ID
		d.templates = append(d.templates, u)
	}
}

// template reads what a change says. It reports false where it names no
// template or an event that we do not know.
func (c *change) template(now time.Time) (gateway.TemplateUpdate, bool) {
	v := c.value
	u := gateway.TemplateUpdate{
		ExternalID: cut(v.text("message_template_id"), 64),
		Name:       v.text("message_template_name"),
		Language:   v.text("message_template_language"),
		Category:   categoryOf(v.text("message_template_category")),
		Status:     templateStatuses[strings.ToUpper(v.text("event"))],
		Reason:     templateReason(v),
		At:         sentAt(c.told, now),
	}
	named := u.Name != "" && len(u.Name) <= maxTemplateName && u.Language != "" && len(u.Language) <= maxTemplateLanguage
	return u, named && u.Status != ""
}

// maxTemplateName and maxTemplateLanguage are how long, in bytes, what names a
// template may be: names have 512 characters at most (Business Management API,
// "Message templates").
const (
	maxTemplateName     = 512
	maxTemplateLanguage = 32
)

// maxReason is how many characters of Meta's reason are kept.
const maxReason = 1000

// templateReason is why a template was rejected, paused or disabled. What
// there is of it stands in one of three places.
func templateReason(v object) string {
	reason := plainReason(v.text("reason"))
	other := v.object("other_info")
	if reason == "" {
		reason = other.text("title")
	}
	more := v.object("rejection_info").text("reason")
	if more == "" {
		more = other.text("description")
	}
	return cut(join(": ", reason, more), maxReason)
}

// plainReason is empty for Meta's word for none.
func plainReason(s string) string {
	if s == "NONE" {
		return ""
	}
	return cut(s, maxReason)
}

// categoryOf is empty for a category that we do not know.
func categoryOf(s string) gateway.TemplateCategory {
	switch c := gateway.TemplateCategory(strings.ToUpper(s)); c {
	case gateway.TemplateMarketing, gateway.TemplateUtility, gateway.TemplateAuthentication:
		return c
	default:
		return ""
	}
}
