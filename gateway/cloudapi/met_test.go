package cloudapi

import (
	"testing"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

func TestMetaSaysWhomAMessageReaches(t *testing.T) {
	for name, tt := range map[string]struct {
		to, want gateway.Address
		fault    *graphtest.Fault
	}{
		"Brazil, where Meta leaves a digit out": {to: gateway.Address{Phone: "+5531988887777"}, want: gateway.Address{Phone: "+553188887777"}},
		"Mexico, where Meta puts one in":        {to: gateway.Address{Phone: "+525512345678"}, want: gateway.Address{Phone: "+5215512345678"}},
		"Argentina, where Meta puts one in":     {to: gateway.Address{Phone: "+541158749895"}, want: gateway.Address{Phone: "+5491158749895"}},
		"anywhere else":                         {to: gateway.Address{Phone: "+16505551234"}, want: gateway.Address{Phone: "+16505551234"}},
		"somebody who goes by a user name":      {to: gateway.Address{LID: "US.134"}, want: gateway.Address{LID: "US.134"}},
		"a group":                               {to: gateway.Address{Group: "group"}},
		"an answer that names nobody": {
			to: gateway.Address{Phone: "+16505551234"}, fault: &graphtest.Fault{Status: 200, Raw: `{"contacts":[],"messages":[{"id":"wamid.1"}]}`},
		},
		"an answer of things that are no number": {
			to: gateway.Address{Phone: "+16505551234"}, fault: &graphtest.Fault{Status: 200, Raw: `{"contacts":[{"wa_id":"+1 650"}],"messages":[{"id":"wamid.1"}]}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t)
			g.KnowAs("5531988887777", "553188887777")
			g.KnowAs("525512345678", "5215512345678")
			g.KnowAs("541158749895", "5491158749895")
			if tt.fault != nil {
				g.Fail(1, *tt.fault)
			}
			s := send()
			s.To = tt.to
			if _, err := g.channel.Transmit(t.Context(), &g.account, s); err != nil {
				t.Fatal(err)
			}
			if s.Met != tt.want {
				t.Errorf("it reached %+v, want %+v", s.Met, tt.want)
			}
			if s.To != tt.to {
				t.Errorf("it is for %+v", s.To)
			}
		})
	}
}
