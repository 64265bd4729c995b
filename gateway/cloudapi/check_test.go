package cloudapi

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

func TestATokenIsCheckedWithItsNumber(t *testing.T) {
	numbers := []graphtest.Number{
		{PhoneNumberID: "2001", Phone: "15550002001", WABA: "9001"},
		{PhoneNumberID: "2002", Phone: "15550002002", WABA: "9001"},
		{PhoneNumberID: "2003", Phone: "15550002003", WABA: "9001"},
		{PhoneNumberID: "2004", Phone: "15550002004", WABA: "9004"},
	}
	for name, tt := range map[string]struct {
		number, waba, token string
		fault               *graphtest.Fault
		first               int // requests that go well before the fault
		kind                gateway.Kind
		field               string
	}{
		"all is well":                          {number: "2001"},
		"on the second page of numbers":        {number: "2003"},
		"another token":                        {number: "2001", token: "another", kind: gateway.Invalid, field: "meta_access_token"},
		"a number that does not exist":         {number: "2009", kind: gateway.Invalid, field: "phone_number_id"},
		"the business account's id for it":     {number: "9001", kind: gateway.Invalid, field: "phone_number_id"},
		"a business account that is not there": {number: "2001", waba: "9009", kind: gateway.Invalid, field: "waba_id"},
		"another business account's number":    {number: "2004", kind: gateway.Invalid, field: "phone_number_id"},
		"a token without the permission":       {number: "2001", fault: &graphtest.Fault{Code: 200, Status: 403}, kind: gateway.Invalid, field: "meta_access_token"},
		"without that for the business":        {number: "2001", first: 1, fault: &graphtest.Fault{Code: 10, Status: 403}, kind: gateway.Invalid, field: "meta_access_token"},
		"too many calls":                       {number: "2001", fault: &graphtest.Fault{Code: 4}, kind: gateway.RateLimited},
		"Meta is down":                         {number: "2001", fault: &graphtest.Fault{Status: 502}, kind: gateway.Unavailable},
		"Meta is down in the middle":           {number: "2001", first: 1, fault: &graphtest.Fault{Code: 2, Status: 500}, kind: gateway.Unavailable},
		"the connection ends":                  {number: "2001", fault: &graphtest.Fault{Cut: true}, kind: gateway.Unavailable},
		"an answer that is none":               {number: "2001", fault: &graphtest.Fault{Status: 200, Raw: "hello"}, kind: gateway.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t)
			for _, n := range numbers {
				g.Own(n, token)
			}
			a := g.account
			a.Cloud.PhoneNumberID, a.Cloud.WABAID = tt.number, "9001"
			if tt.waba != "" {
				a.Cloud.WABAID = tt.waba
			}
			if tt.token != "" {
				a.Cloud.AccessToken = gateway.Secret(tt.token)
			}
			if tt.fault != nil {
				g.After(tt.first, *tt.fault)
			}
			err := g.channel.CheckAccount(t.Context(), &a)
			if tt.kind == gateway.Internal {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e := check(t, err, tt.kind)
			var fields []string
			for f := range e.Details {
				fields = append(fields, f)
			}
			var want []string
			if tt.field != "" {
				want = []string{tt.field}
			}
			if diff := cmp.Diff(want, fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMetaThatCanNotBeReachedLeavesAnAccountUnchecked(t *testing.T) {
	g := newGraph(t)
	a := g.account
	a.Cloud.WABAID, a.Cloud.GraphURL = "9001", "http://127.0.0.1:1/v23.0"
	var e *gateway.Error
	err := g.channel.CheckAccount(t.Context(), &a)
	if !errors.As(err, &e) || e.Kind != gateway.Unavailable || !strings.Contains(e.Msg, "could not be reached") {
		t.Errorf("%v", err)
	}
}
