package cloudapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wagent/gateway"
)

// A verdict is what an error code of the Graph API means to us, in our words:
// Meta's may repeat parts of the request.
type verdict struct {
	kind  gateway.Kind
	title string
}

// verdicts are the codes that Meta lists for sending messages (WhatsApp
// Business Platform, "Error codes"; Graph API, "Handling errors"). What needs
// a person to mend the account counts as Unauthorized, which the outbox tries
// again.
var verdicts = map[int]verdict{
	0:      {gateway.Unauthorized, "the access token could not be authenticated"},
	1:      {gateway.Unavailable, "unknown error of the API"},
	2:      {gateway.Unavailable, "the API is temporarily unavailable"},
	3:      {gateway.Unauthorized, "the app lacks the capability"},
	4:      {gateway.RateLimited, "the app's call limit is reached"},
	10:     {gateway.Unauthorized, "permission not granted or removed"},
	17:     {gateway.RateLimited, "the user's call limit is reached"},
	32:     {gateway.RateLimited, "the page's call limit is reached"},
	33:     {gateway.Unauthorized, "the business phone number was deleted"},
	100:    {gateway.Invalid, "invalid parameter"},
	190:    {gateway.Unauthorized, "the access token has expired or is invalid"},
	368:    {gateway.RateLimited, "temporarily blocked for policy violations"},
	470:    {gateway.Invalid, "message expired"},
	613:    {gateway.RateLimited, "the call limit is reached"},
	80007:  {gateway.RateLimited, "the business account's rate limit is reached"},
	80008:  {gateway.RateLimited, "the business account's limit of management calls is reached"},
	130429: {gateway.RateLimited, "the throughput limit is reached"},
	130472: {gateway.Invalid, "the recipient's number is part of an experiment"},
	130497: {gateway.Invalid, "not allowed to message users in this country"},
	131000: {gateway.Unavailable, "something went wrong"},
	131005: {gateway.Unauthorized, "access denied"},
	131008: {gateway.Invalid, "a required parameter is missing"},
	131009: {gateway.Invalid, "a parameter's value is not valid"},
	131016: {gateway.Unavailable, "service unavailable"},
	131021: {gateway.Invalid, "the recipient is the sender"},
	131026: {gateway.Invalid, "message undeliverable"},
	131030: {gateway.Invalid, "the recipient is not in the allowed list"},
	131031: {gateway.Unauthorized, "the business account is locked"},
	131037: {gateway.Unauthorized, "the number's display name is not approved"},
	131042: {gateway.Unauthorized, "a problem with the payment method"},
	131045: {gateway.Unauthorized, "the number is not registered for sending"},
	131047: {gateway.WindowClosed, "more than 24 hours since the customer's last message"},
	131048: {gateway.RateLimited, "the spam rate limit is reached"},
	131049: {gateway.Invalid, "not delivered, to keep the ecosystem healthy"},
	131050: {gateway.Invalid, "the recipient stopped marketing messages"},
	131051: {gateway.Invalid, "unsupported message type"},
	131052: {gateway.Invalid, "media download error"},
	131053: {gateway.Invalid, "media upload error"},
	131055: {gateway.Invalid, "method not allowed"},
	131056: {gateway.RateLimited, "too many messages to this recipient"},
	131057: {gateway.Unavailable, "the account is in maintenance mode"},
	131060: {gateway.Invalid, "the message is unavailable"},
	131062: {gateway.Invalid, "no business-scoped user id is taken for this message"},
	133004: {gateway.Unavailable, "server temporarily unavailable"},
	133010: {gateway.Unauthorized, "the number is not registered"},
	135000: {gateway.Invalid, "the parameters were not understood"},
}

// missingObject is the subcode of code 100 with which Graph says that the
// phone number id does not exist or that the token does not reach it.
const missingObject = 33

// answered makes an error of an answer that is no success. In any case the
// message was not taken, unless a server failed without a word of Graph's.
func answered(status int, header http.Header, body []byte) *gateway.Error {
	e := objectOf(body).object("error")
	code, err := strconv.Atoi(e.text("code"))
	if err != nil {
		return wordless(status, header)
	}
	v := judge(status, code, e)
	out := &gateway.Error{
		Kind: v.kind,
		Msg:  fmt.Sprintf("Graph error %d: %s", code, v.title),
		Err:  fmt.Errorf("HTTP %d, fbtrace_id %q", status, word(e.text("fbtrace_id"))),
	}
	if v.kind == gateway.RateLimited || v.kind == gateway.Unavailable {
		out.RetryAfter = retryAfterOf(header)
	}
	return out
}

func judge(status, code int, e object) verdict {
	if v, ok := verdicts[code]; ok {
		if code == 100 && e.text("error_subcode") == strconv.Itoa(missingObject) {
			return verdict{gateway.Unauthorized, "the phone number id does not exist, or the token does not reach it"}
		}
		return v
	}
	unlisted := fmt.Sprintf("unlisted (%s)", word(e.text("type")))
	switch {
	case code >= 200 && code <= 299:
		return verdict{gateway.Unauthorized, "permission not granted or removed"}
	case code >= 132000 && code <= 132999:
		return verdict{gateway.Invalid, "template or flow error"}
	case string(e["is_transient"]) == "true", status >= 500:
		return verdict{gateway.Unavailable, unlisted}
	case status == http.StatusTooManyRequests:
		return verdict{gateway.RateLimited, unlisted}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return verdict{gateway.Unauthorized, unlisted}
	default:
		return verdict{gateway.Invalid, unlisted}
	}
}

// wordless judges an answer without a Graph error: of a proxy, or of whatever
// a wrong graph_url names.
func wordless(status int, header http.Header) *gateway.Error {
	out := &gateway.Error{
		Kind: gateway.Unavailable,
		Msg:  fmt.Sprintf("HTTP %d without an error of the Graph API", status),
	}
	switch {
	case status >= 500:
		out.Kind = gateway.Ambiguous
	case status == http.StatusTooManyRequests:
		out.Kind = gateway.RateLimited
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		out.Kind = gateway.Unauthorized
	}
	if out.Kind == gateway.RateLimited || out.Kind == gateway.Unavailable {
		out.RetryAfter = retryAfterOf(header)
	}
	return out
}

// retryAfterOf reads Retry-After (RFC 9110, section 10.2.3): seconds or a
// date; zero where it is absent, past or neither.
func retryAfterOf(header http.Header) time.Duration {
	v := header.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(s, 0), 86400)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// word keeps of s what may stand in a log: short names and ids.
func word(s string) string {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_' && r != '-'
	}) {
		return ""
	}
	return s
}
