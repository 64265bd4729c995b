package config

import (
	"slices"
	"strings"
	"time"

	"wagent/gateway"
)

func (v value) accounts(c *Config) {
	ids, numbers, metaIDs := places{}, places{}, places{}
	v.list(func(v value) {
		a := gateway.Account{Declared: true, Takeover: gateway.DefaultTakeover}
		set := v.account(&a)
		ids.once(set["id"], string(a.ID))
		numbers.once(set["phone_number"], a.PhoneNumber)
		metaIDs.once(set["phone_number_id"], a.Cloud.PhoneNumberID)
		c.Accounts = append(c.Accounts, a)
	})
}

// What only accounts of one kind have.
var (
	cloudKeys  = []string{"phone_number_id", "waba_id", "access_token", "app_secret", "verify_token", "graph_url"}
	linkedKeys = []string{"answer_groups", "mark_read", "typing", "send_gap"}
)

func (v value) account(a *gateway.Account) map[string]value {
	var id, kind string
	cloud, linked := gateway.Cloud{GraphURL: graphURL}, gateway.DefaultLinked()
	groups, read := string(linked.Groups), string(linked.MarkRead)
	set := v.mapping(fields{
		"id":                      func(v value) { v.id(&id) },
		"kind":                    func(v value) { v.accountKind(&kind) },
		"name":                    func(v value) { v.text(&a.Name) },
		"phone_number":            func(v value) { v.phone(&a.PhoneNumber) },
		"allow_from":              func(v value) { v.phones(&a.AllowFrom) },
		"human_takeover_duration": func(v value) { v.durationIn(&a.Takeover, 0, 24*time.Hour) },

		"phone_number_id": func(v value) { v.matching(&cloud.PhoneNumberID, metaID, "the digits that Meta shows for the number") },
		"waba_id": func(v value) {
			v.matching(&cloud.WABAID, metaID, "the digits that Meta shows for the business account")
		},
		"access_token": func(v value) { v.secret(&cloud.AccessToken) },
		"app_secret":   func(v value) { v.secret(&cloud.AppSecret) },
		"verify_token": func(v value) { v.secret(&cloud.VerifyToken) },
		"graph_url":    func(v value) { v.baseURL(&cloud.GraphURL) },

		"answer_groups": func(v value) { v.oneOf(&groups, "ignore", "mentioned", "all") },
		"mark_read":     func(v value) { v.oneOf(&read, "never", "answering", "received") },
		"typing":        func(v value) { v.boolean(&linked.Typing) },
		"send_gap":      func(v value) { v.durationIn(&linked.SendGap, 0, time.Minute) },
	})
	a.ID, a.Kind = gateway.AccountID(id), gateway.AccountKind(kind)
	linked.Groups, linked.MarkRead = gateway.GroupPolicy(groups), gateway.ReadPolicy(read)
	v.require(set, "", map[string]bool{"id": id == ""})
	v.require(set, ", it is "+choice(accountKinds()), map[string]bool{"kind": kind == ""})
	switch a.Kind {
	case gateway.CloudAPI:
		a.Cloud = cloud
		v.require(set, " for an account of kind cloud_api", map[string]bool{
			"phone_number_id": cloud.PhoneNumberID == "",
			"access_token":    cloud.AccessToken == "",
			"app_secret":      cloud.AppSecret == "",
			"verify_token":    cloud.VerifyToken == "",
		})
		meaningless(set, kind, linkedKeys)
	case gateway.LinkedDevice:
		a.Linked = linked
		meaningless(set, kind, cloudKeys)
	case gateway.Sandbox:
		meaningless(set, kind, slices.Concat(cloudKeys, linkedKeys))
	}
	return set
}

// meaningless adds a fault for each of the keys that is set.
func meaningless(set map[string]value, kind string, keys []string) {
	for _, key := range keys {
		if at, ok := set[key]; ok && !at.null() {
			at.fault("means nothing to an account of kind %s, remove it", kind)
		}
	}
}

// accountKinds are those that this build has.
func accountKinds() []string {
	kinds := []string{string(gateway.CloudAPI), string(gateway.Sandbox)}
	if LinkedDevices {
		kinds = slices.Insert(kinds, 1, string(gateway.LinkedDevice))
	}
	return kinds
}

func (v value) accountKind(to *string) {
	if !LinkedDevices && v.node.Value == string(gateway.LinkedDevice) {
		v.fault("this build has no linked devices, use %s", choice(accountKinds()))
		return
	}
	v.oneOf(to, accountKinds()...)
}

func (v value) phone(to *string) {
	v.matching(to, phoneNumber, `E.164, such as "+15550001111"`)
}

// phones reads numbers, each once. An empty one is not left out: a list of
// nobody would mean everybody.
func (v value) phones(to *[]string) {
	seen := places{}
	v.list(func(v value) {
		var phone string
		v.phone(&phone)
		if phone == "" && !v.p.faulty(v.path) {
			v.fault("is empty, write a number or remove it")
		}
		seen.once(v, phone)
		*to = append(*to, phone)
	})
}

// choice names words as "a, b or c".
func choice(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
