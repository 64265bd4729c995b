package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// The types of component, in the order in which the customer sees them
// (WhatsApp Business Management API, "Template components").
const (
	header   = "HEADER"
	bodyText = "BODY"
	footer   = "FOOTER"
	buttons  = "BUTTONS"
	carousel = "CAROUSEL"
	offer    = "LIMITED_TIME_OFFER"
)

var kinds = []string{header, offer, bodyText, footer, buttons, carousel}

// headerFormats are what a header may be.
var headerFormats = []string{"TEXT", "IMAGE", "VIDEO", "DOCUMENT", "LOCATION"}

// longest is how many characters the text of a component may have.
var longest = map[string]int{header: 60, bodyText: 1024, footer: 60}

// A component is a part of a template, as Meta has it.
type component map[string]json.RawMessage

// text returns a member that is a string, or "".
func (c component) text(name string) string {
	var s string
	if json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

func (c component) kind() string { return strings.ToUpper(c.text("type")) }

func (c component) set(name string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("templates: encode " + name + ": " + err.Error()) // strings and lists of them
	}
	c[name] = b
}

// componentsOf reads the components on record; nil if there are none.
func componentsOf(t *gateway.Template) []component {
	var cs []component
	if json.Unmarshal(t.Components, &cs) != nil {
		return nil
	}
	return slices.DeleteFunc(cs, func(c component) bool { return c.kind() == "" })
}

// find returns the component of a type, or nil.
func find(cs []component, kind string) component {
	for _, c := range cs {
		if c.kind() == kind {
			return c
		}
	}
	return nil
}

// readComponents takes Meta's list of components, or an object of them by type.
func readComponents(raw json.RawMessage, p wire.Problems) []component {
	var list []component
	var byType map[string]json.RawMessage
	switch trimmed := bytes.TrimSpace(raw); {
	case len(trimmed) == 0, string(trimmed) == "null":
		p.Add("components", "can't be blank")
		return nil
	case json.Unmarshal(trimmed, &list) == nil:
		list = within(list, p)
		for i, c := range list {
			if c.kind() == "" {
				p.Add("components", fmt.Sprintf("entry %d has no type", i+1))
				return nil
			}
			c.set("type", c.kind())
		}
	case json.Unmarshal(trimmed, &byType) == nil && len(byType) > len(kinds):
		p.Add("components", tooMany)
		return nil
	case json.Unmarshal(trimmed, &byType) == nil:
		list = listed(byType, p)
	default:
		p.Add("components", "must be a list of objects, or an object of them by type")
		return nil
	}
	if len(list) == 0 && len(p["components"]) == 0 {
		p.Add("components", "can't be blank")
	}
	return list
}

var tooMany = fmt.Sprintf("must have at most %d entries, one of each type", len(kinds))

// within returns the components that there may be: what is wrong with more of
// them would make an answer of any length.
func within(list []component, p wire.Problems) []component {
	if len(list) <= len(kinds) {
		return list
	}
	p.Add("components", tooMany)
	return list[:len(kinds)]
}

// listed makes a list of components by type, where a string is a text and a list
// is the buttons.
func listed(byType map[string]json.RawMessage, p wire.Problems) []component {
	var out []component
	for name, raw := range byType {
		var c component
		var s string
		var l []json.RawMessage
		switch {
		case json.Unmarshal(raw, &s) == nil && string(raw) != "null":
			c = component{"text": raw}
		case json.Unmarshal(raw, &l) == nil && l != nil && strings.ToUpper(name) == buttons:
			c = component{"buttons": raw}
		case json.Unmarshal(raw, &c) != nil, c == nil:
			p.Add("components", fmt.Sprintf("%.40s must be an object", name))
			continue
		}
		c.set("type", strings.ToUpper(name))
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b component) int {
		if d := slices.Index(kinds, a.kind()) - slices.Index(kinds, b.kind()); d != 0 {
			return d
		}
		return strings.Compare(a.kind(), b.kind())
	})
	slices.Sort(p["components"])
	return out
}

// setHeaderType says what the header is, where it does not say so itself.
func setHeaderType(cs []component, format string, p wire.Problems) {
	c := find(cs, header)
	switch {
	case !slices.Contains(headerFormats, format):
		p.Add("header_type", "must be one of "+strings.Join(headerFormats, ", "))
	case c == nil:
		p.Add("header_type", "is for a template with a HEADER")
	case c.text("format") == "":
		c.set("format", format)
	case !strings.EqualFold(c.text("format"), format):
		p.Add("header_type", "is not the HEADER's format")
	}
}

// checkComponents finds what Meta would not take, in words that name the part.
func checkComponents(cs []component, category gateway.TemplateCategory, p wire.Problems) {
	seen := map[string]bool{}
	for _, c := range cs {
		kind, text := c.kind(), c.text("text")
		most := longest[kind]
		switch n := utf8.RuneCountInString(text); {
		case !slices.Contains(kinds, kind):
			p.Add("components", fmt.Sprintf("%.40s is no type: the types are %s", kind, strings.Join(kinds, ", ")))
		case seen[kind]:
			p.Add("components", fmt.Sprintf("has more than one %.40s", kind))
		case most > 0 && n > most:
			p.Add("components", fmt.Sprintf("%s has %d characters, and may have %d", kind, n, most))
		}
		seen[kind] = true
		if kind == header {
			checkHeader(c, p)
		}
		checkVariables(c, p)
	}
	switch b := find(cs, bodyText); {
	case b == nil:
		p.Add("components", "must have a BODY")
	case strings.TrimSpace(b.text("text")) == "" && category != gateway.TemplateAuthentication: // Meta writes those
		p.Add("components", "BODY must have a text")
	}
}

func checkHeader(c component, p wire.Problems) {
	format := strings.ToUpper(c.text("format"))
	if format == "" && c.text("text") != "" {
		format = "TEXT"
	}
	switch {
	case format == "":
		p.Add("components", "HEADER must have a format")
		return
	case !slices.Contains(headerFormats, format):
		p.Add("components", "HEADER's format must be one of "+strings.Join(headerFormats, ", "))
		return
	case format == "TEXT" && c.text("text") == "":
		p.Add("components", "HEADER must have a text")
	case isMedia(format) && len(c.examples()) == 0:
		p.Add("components", "HEADER must have an example, the handle of a file that was uploaded to Meta")
	}
	c.set("format", format)
}

// checkVariables wants one example for each variable.
func checkVariables(c component, p wire.Problems) {
	vs := variables(c.text("text"))
	if len(vs) == 0 {
		return
	}
	numbers := 0
	for _, v := range vs {
		if isNumber(v) {
			numbers++
		}
	}
	switch {
	case numbers > 0 && numbers < len(vs):
		p.Add("components", fmt.Sprintf("%.40s has variables with numbers and others with names", c.kind()))
	case len(c.examples()) != len(vs):
		p.Add("variable_examples", fmt.Sprintf("%.40s needs %d, for %s", c.kind(), len(vs), places(vs)))
	}
}

// places writes variables down as they stand in the text, the first of them where
// there are more than a template ever has.
func places(vs []string) string {
	const most = 20
	out := make([]string, 0, most)
	for _, v := range vs[:min(len(vs), most)] {
		out = append(out, fmt.Sprintf("{{%.40s}}", v))
	}
	if len(vs) > most {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

func isMedia(format string) bool {
	return format == "IMAGE" || format == "VIDEO" || format == "DOCUMENT"
}

// place is a variable in a text: {{1}} or {{name}}.
var place = regexp.MustCompile(`\{\{\s*([^{}\s]+)\s*\}\}`)

// variables returns each variable of a text once: by number, or names in their
// order.
func variables(text string) []string {
	var out []string
	seen := map[string]bool{}
	for _, m := range place.FindAllStringSubmatch(text, -1) {
		if !seen[m[1]] {
			seen[m[1]] = true
			out = append(out, m[1])
		}
	}
	slices.SortStableFunc(out, func(a, b string) int {
		if !isNumber(a) || !isNumber(b) {
			return 0
		}
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
	return out
}

func isNumber(s string) bool { return len(s) < 6 && strings.Trim(s, "0123456789") == "" }

// named reports whether the variables of a template have names.
func named(cs []component) bool {
	for _, c := range cs {
		for _, v := range variables(c.text("text")) {
			if !isNumber(v) {
				return true
			}
		}
	}
	return false
}
