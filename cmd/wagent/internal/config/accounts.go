package config

import (
	"slices"
	"time"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/gateway"
)

func (v value) accounts(c *Config) {
	ids, numbers, metaIDs := document.Places{}, document.Places{}, document.Places{}
	v.list(func(v value) {
		a := gateway.Account{Declared: true, Takeover: gateway.DefaultTakeover}
		set := v.account(c, &a)
		ids.Once(set["id"], string(a.ID))
		numbers.Once(set["phone_number"], a.PhoneNumber)
		metaIDs.Once(set["phone_number_id"], a.Cloud.PhoneNumberID)
		c.Accounts = append(c.Accounts, a)
	})
}

// What only accounts of one kind have.
var (
	cloudKeys  = []string{"phone_number_id", "waba_id", "access_token", "app_secret", "verify_token", "graph_url"}
	linkedKeys = []string{"answer_groups", "mark_read", "typing", "send_gap"}
)

func (v value) account(c *Config, a *gateway.Account) map[string]document.Value {
	var id, kind string
	cloud, linked := gateway.Cloud{GraphURL: gateway.DefaultGraphURL}, gateway.DefaultLinked()
	groups, read := string(linked.Groups), string(linked.MarkRead)
	set := v.mapping(fields{
		"id":                      func(v value) { v.id(&id) },
		"kind":                    func(v value) { v.accountKind(&kind) },
		"name":                    func(v value) { v.Text(&a.Name) },
		"phone_number":            func(v value) { v.phone(&a.PhoneNumber) },
		"allow_from":              func(v value) { v.phones(&a.AllowFrom) },
		"human_takeover_duration": func(v value) { v.DurationIn(&a.Takeover, 0, 24*time.Hour) },
		"time_zone":               func(v value) { v.Zone(&a.TimeZone) },
		"business_hours":          func(v value) { v.businessHours(&a.Hours) },
		"router":                  func(v value) { v.router(c, &a.Router) },

		"phone_number_id": func(v value) { v.Matching(&cloud.PhoneNumberID, metaID, "the digits that Meta shows for the number") },
		"waba_id": func(v value) {
			v.Matching(&cloud.WABAID, metaID, "the digits that Meta shows for the business account")
		},
		"access_token": func(v value) { v.secret(&cloud.AccessToken) },
		"app_secret":   func(v value) { v.secret(&cloud.AppSecret) },
		"verify_token": func(v value) { v.secret(&cloud.VerifyToken) },
		"graph_url":    func(v value) { v.baseURL(&cloud.GraphURL) },

		"answer_groups": func(v value) { v.OneOf(&groups, "ignore", "mentioned", "all") },
		"mark_read":     func(v value) { v.OneOf(&read, "never", "answering", "received") },
		"typing":        func(v value) { v.Boolean(&linked.Typing) },
		"send_gap":      func(v value) { v.DurationIn(&linked.SendGap, 0, time.Minute) },
	})
	a.ID, a.Kind = gateway.AccountID(id), gateway.AccountKind(kind)
	linked.Groups, linked.MarkRead = gateway.GroupPolicy(groups), gateway.ReadPolicy(read)
	v.Require(set, "", map[string]bool{"id": id == ""})
	v.Require(set, ", it is "+document.Choice(accountKinds()), map[string]bool{"kind": kind == ""})
	switch a.Kind {
	case gateway.CloudAPI:
		a.Cloud = cloud
		v.Require(set, " for an account of kind cloud_api", map[string]bool{
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
func meaningless(set map[string]document.Value, kind string, keys []string) {
	for _, key := range keys {
		if at, ok := set[key]; ok && !at.Null() {
			at.Fault("means nothing to an account of kind %s, remove it", kind)
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
	if !LinkedDevices && v.Node.Value == string(gateway.LinkedDevice) {
		v.Fault("this build has no linked devices, use %s", document.Choice(accountKinds()))
		return
	}
	v.OneOf(to, accountKinds()...)
}

func (v value) phone(to *string) {
	v.Matching(to, phoneNumber, `E.164, such as "+15550001111"`)
}

// phones reads numbers, each once. An empty one is not left out: a list of
// nobody would mean everybody.
func (v value) phones(to *[]string) {
	seen := document.Places{}
	v.list(func(v value) {
		var phone string
		v.phone(&phone)
		if phone == "" && !v.Faulty(v.Path) {
			v.Fault("is empty, write a number or remove it")
		}
		seen.Once(v.Value, phone)
		*to = append(*to, phone)
	})
}
