package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"wagent/gateway/api/wire"
)

// A component's example holds what its variables may be, or a file, in one of
// these members (WhatsApp Business Management API, "Template components").
type example struct {
	BodyText    [][]string   `json:"body_text,omitempty"`
	BodyNamed   []namedParam `json:"body_text_named_params,omitempty"`
	HeaderText  []string     `json:"header_text,omitempty"`
	HeaderNamed []namedParam `json:"header_text_named_params,omitempty"`
	Handle      []string     `json:"header_handle,omitempty"` // of a file; where Meta lists it, its address
}

type namedParam struct {
	Name    string `json:"param_name"`
	Example string `json:"example"`
}

// examples returns a header's or a body's, in the order of its variables.
func (c component) examples() []string {
	var e example
	if json.Unmarshal(c["example"], &e) != nil {
		return nil
	}
	byName := map[string]string{}
	for _, n := range slices.Concat(e.BodyNamed, e.HeaderNamed) {
		byName[n.Name] = n.Example
	}
	var out []string
	for _, v := range variables(c.text("text")) {
		if s, ok := byName[v]; ok {
			out = append(out, s)
		}
	}
	switch {
	case len(out) > 0:
	case len(e.BodyText) > 0:
		out = e.BodyText[0]
	case len(e.HeaderText) > 0:
		out = e.HeaderText
	default:
		out = e.Handle
	}
	return out
}

// fillExamples gives components the examples that stand beside them, by type:
// a list, or a string for one.
func fillExamples(cs []component, raw json.RawMessage, p wire.Problems) {
	if len(bytes.TrimSpace(raw)) == 0 || string(bytes.TrimSpace(raw)) == "null" {
		return
	}
	var byType map[string]json.RawMessage
	if json.Unmarshal(raw, &byType) != nil {
		p.Add("variable_examples", "must be an object of lists by HEADER and BODY")
		return
	}
	if len(byType) > len(kinds) { // to name them all would make an answer of any length
		p.Add("variable_examples", "must be by HEADER and BODY only")
		return
	}
	for name, raw := range byType {
		kind := strings.ToUpper(name)
		var list []string
		var one string
		switch {
		case kind != header && kind != bodyText:
			p.Add("variable_examples", fmt.Sprintf("%.40s is neither HEADER nor BODY", name))
			continue
		case json.Unmarshal(raw, &one) == nil && one != "":
			list = []string{one}
		case json.Unmarshal(raw, &list) != nil:
			p.Add("variable_examples", kind+" must be a list of strings")
			continue
		}
		if c := find(cs, kind); c != nil && len(list) > 0 {
			c.set("example", exampleOf(c, list))
		}
	}
	slices.Sort(p["variable_examples"])
}

func exampleOf(c component, list []string) example {
	vs := variables(c.text("text"))
	var params []namedParam
	for i := range min(len(vs), len(list)) {
		if !isNumber(vs[i]) {
			params = append(params, namedParam{vs[i], list[i]})
		}
	}
	switch isBody := c.kind() == bodyText; {
	case isBody && params != nil:
		return example{BodyNamed: params}
	case isBody:
		return example{BodyText: [][]string{list}}
	case isMedia(strings.ToUpper(c.text("format"))):
		return example{Handle: list}
	case params != nil:
		return example{HeaderNamed: params}
	default:
		return example{HeaderText: list}
	}
}
