package client_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

func (g *gateway) webhookCall(method string, path []string, in object) (int, any, *refusal) {
	switch {
	case len(path) == 1 && method == http.MethodGet:
		return 200, list(g.hooks), nil
	case len(path) == 1:
		h := object{"id": len(g.hooks) + 1, "active": true, "events": []string{}, "created_at": stamp, "updated_at": stamp}
		maps.Copy(h, in["webhook"].(object))
		g.hooks = append(g.hooks, h)
		shown := object{"secret": "whsec_c2VjcmV0"}
		maps.Copy(shown, h)
		return 201, data(shown), nil
	}
	h := find(g.hooks, path[1])
	switch {
	case h == nil:
		return 0, nil, missing()
	case len(path) > 2 && path[2] != "rotate_secret":
		return deliveryCall(method, path)
	case len(path) > 2:
		shown := object{"secret": "whsec_bmV3"}
		maps.Copy(shown, h)
		return 200, data(shown), nil
	case method == http.MethodPatch:
		maps.Copy(h, in["webhook"].(object))
	case method == http.MethodDelete:
		g.hooks = slices.DeleteFunc(g.hooks, func(o object) bool { return fmt.Sprint(o["id"]) == path[1] })
		return 204, nil, nil
	}
	return 200, data(h), nil
}

// deliveryCall has one delivery, which died, and tests that succeed.
func deliveryCall(method string, path []string) (int, any, *refusal) {
	d := object{"id": "del_1", "webhook_id": 1, "event": "agent_action.dispatched", "state": "dead", "attempts": 10, "action_index": 0, "last_status": 500, "created_at": stamp}
	switch call := method + " " + strings.Join(path[2:], " "); call {
	case "GET deliveries":
		return 200, list([]object{d}), nil
	case "POST deliveries replay":
		return 200, data(object{"replayed": 1, "more": false}), nil
	case "POST deliveries del_1 replay":
		d["state"] = "pending"
	case "POST test":
		d = object{"id": "del_2", "event": "webhook.test", "state": "succeeded", "attempts": 1, "attempt_log": []object{{"number": 1, "status": 204, "duration_ms": 12}}}
	case "GET deliveries del_1":
	case "PATCH settings":
	default:
		return 0, nil, missing()
	}
	return 200, data(d), nil
}

func account() object {
	return object{
		"id": "acc_1", "waba_id": "9001", "business_name": "Hotel", "display_name": "Hotel", "phone_number": "+15550001111",
		"phone_number_id": "1001", "status": "connected", "quality_rating": nil, "connected": true, "human_takeover_duration": 30,
		"created_at": stamp, "updated_at": stamp,
	}
}

func session() object {
	return object{
		"id": "ses_1", "name": "Reception", "status": "qr_pending", "connected": false, "phone_number": nil,
		"qr_code": "data:image/png;base64,iVBORw0=", "created_at": stamp, "updated_at": stamp, "link": object{"state": "connecting"},
	}
}

func template(name, status string) object {
	return object{
		"id": "tpl_" + name, "name": name, "language": "en_US", "category": "UTILITY", "status": status,
		"components": object{"body": object{"text": "Hello {{1}}"}}, "variable_examples": object{"body": []string{"Ann"}}, "rejection_reason": nil, "created_at": stamp, "updated_at": stamp,
	}
}

func (g *gateway) accountCall(r *http.Request, path []string, in object) (int, any, *refusal) {
	call := r.Method
	for i, s := range path {
		if i == 1 && s != "connect" || i == 3 && slices.Contains([]string{"tpl_hello", "msg_1", "7"}, s) {
			s = "*"
		}
		call += " " + s
	}
	switch {
	case path[0] == "business_accounts" && len(path) > 2 && path[1] != "acc_1", path[0] == "sessions" && len(path) > 1 && path[1] != "ses_1":
		return 0, nil, missing()
	case strings.Contains(call, "conversation_pauses"):
		return g.pauseCall(call, r, in)
	case strings.Contains(call, " messages"):
		return g.messageCall(call, in)
	}
	phone := r.URL.Query().Get("phone_number")
	switch call {
	case "GET business_accounts":
		return 200, list([]object{account()}), nil
	case "POST business_accounts":
		return 201, data(account()), nil
	case "GET business_accounts *":
		return 200, data(account()), nil
	case "GET business_accounts * window":
		if phone == "" {
			return 0, nil, &refusal{400, "Missing parameter: phone_number", nil}
		}
		return 200, data(object{"phone_number": phone, "open": true, "last_inbound_at": stamp, "expires_at": "2026-03-05T05:06:07Z"}), nil
	case "POST business_accounts connect":
		return 201, data(object{"id": "con_1", "url": "https://example.com/connect/1", "status": "pending", "expires_at": stamp}), nil
	case "GET connects *":
		return 200, data(object{"id": "con_1", "url": "https://example.com/connect/1", "status": "completed", "expires_at": stamp, "account": account()}), nil
	case "DELETE business_accounts *", "DELETE sessions *", "DELETE business_accounts * templates *":
		return 204, nil, nil
	case "GET sessions":
		return 200, list([]object{session()}), nil
	case "POST sessions":
		return 201, data(session()), nil
	case "GET sessions *":
		return 200, data(session()), nil
	case "GET business_accounts * templates", "POST business_accounts * templates sync":
		all := []object{template("hello", "approved"), template("bye", "pending")}
		return 200, list(slices.DeleteFunc(all, func(o object) bool {
			status := r.URL.Query().Get("status")
			return status != "" && status != o["status"]
		})), nil
	case "POST business_accounts * templates":
		return 201, data(template(in["template"].(object)["name"].(string), "pending")), nil
	case "GET business_accounts * templates *":
		return 200, data(template("hello", "approved")), nil
	case "POST business_accounts * templates * clone":
		return 201, data(template("hello_2", "pending")), nil
	case "POST business_accounts * templates * send_test":
		return 201, data(message(object{"to": in["to"], "message_type": "template"})), nil
	}
	return 0, nil, missing()
}

func message(in object) object {
	m := object{
		"id": "msg_1", "direction": "outbound", "status": "queued", "wamid": nil, "error_message": nil, "content": "",
		"sent_at": nil, "delivered_at": nil, "read_at": nil, "created_at": stamp,
	}
	maps.Copy(m, in)
	return m
}

func (g *gateway) messageCall(call string, in object) (int, any, *refusal) {
	switch {
	case strings.HasPrefix(call, "POST"):
		m := in["message"].(object)
		if !strings.HasPrefix(m["to"].(string), "+") {
			return 0, nil, invalid("to", "must be a number in E.164 form")
		}
		g.posts = append(g.posts, m)
		return 201, data(message(m)), nil
	case strings.HasSuffix(call, "*"):
		return 200, data(message(object{"to": "+15550001234", "status": "read", "sent_at": stamp, "read_at": stamp})), nil
	default:
		return 200, list([]object{message(object{"to": "+15550001234"})}), nil
	}
}

func (g *gateway) pauseCall(call string, r *http.Request, in object) (int, any, *refusal) {
	switch {
	case strings.HasPrefix(call, "POST"):
		g.pause = object{
			"id": 7, "phone_number": in["phone_number"], "reason": "manual", "expires_at": stamp, "resumed_at": nil,
			"remaining_minutes": in["duration_minutes"], "created_at": stamp,
		}
		return 201, data(g.pause), nil
	case strings.HasSuffix(call, "check"):
		if g.pause == nil || g.pause["phone_number"] != r.URL.Query().Get("phone_number") {
			return 200, object{"paused": false, "pause": nil}, nil
		}
		return 200, object{"paused": true, "pause": g.pause}, nil
	case strings.HasSuffix(call, "conversation_pauses"):
		if g.pause == nil {
			return 200, list(nil), nil
		}
		return 200, list([]object{g.pause}), nil
	case g.pause == nil:
		return 0, nil, missing()
	}
	shown := g.pause
	if strings.HasPrefix(call, "DELETE") {
		shown["resumed_at"], shown["remaining_minutes"] = stamp, 0
		g.pause = nil
	}
	return 200, data(shown), nil
}

func counted(r *http.Request) object {
	if strings.HasSuffix(r.URL.Path, "/metrics") {
		return object{
			"sessions": object{"total": 0, "connected": 0, "disconnect_rate_24h": nil},
			"messages": object{"total_24h": 20, "sent_24h": 12, "failed_24h": 4, "success_rate_24h": 0.75, "avg_delivery_latency_ms": 1234},
		}
	}
	u := object{
		"plan": "scale", "send_enabled": true, "sessions": object{"used": 4, "limit": nil},
		"daily_business_messages": object{"used": 7, "limit": nil, "remaining": nil},
		"daily_session_messages":  object{"used": 3, "limit": nil, "remaining": nil},
	}
	if r.URL.RawQuery == "from=2026-11-01&to=2026-11-30" {
		u["total"], u["by_agent"] = object{"runs": 6}, []object{{"id": "agt_1", "runs": 6}}
	}
	return u
}
