// Package openapi describes the API in OpenAPI 3.1, from the types that its
// handlers encode and decode, and serves the description and a page to browse it.
//
// Each package that registers routes lists them as operations, in a file
// operations.go beside its handlers:
//
//	func Operations() []openapi.Operation {
//		return []openapi.Operation{
//			{Method: "GET", Path: "/things", Summary: "List things", Reply: openapi.List(thingBody{})},
//			{Method: "POST", Path: "/things", Summary: "Create a thing", Status: 201,
//				Body: openapi.Member("thing", thingInput{}, "name"), Reply: openapi.Data(thingBody{})},
//			{Method: "DELETE", Path: "/things/:thing", Summary: "Delete a thing", Errors: []int{409}},
//		}
//	}
//
// and package api names them in a [Section]. What every call may answer is known
// here: 401, 403, 404 of what the path names, 429 and so on. A list of Errors has
// only what the call adds to them, such as the 409 of what stands in the
// configuration file.
//
// Of a struct that is answered, each member is required unless it is omitempty;
// a pointer may be null, a list and a map may not unless they are tagged
// nullable:"true". Of one that is read, no member is required that [Member] or
// [Object] does not name. Tags say what types can't: enum:"auto,confirm",
// minimum:"1", maximum:"60", maxLength:"255", pattern:"^a", description:"…". A
// member whose name ends in _at or _until is a time.
//
// It guarantees nothing by itself: that every route has an operation and every
// operation a route, and that requests and answers are as described, is what tests
// see to (package wiretest). The document is made once and never changes.
package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A Section is what one part of the API offers.
type Section struct {
	Name, Description string
	Operations        []Operation
}

// An Operation is one call.
type Operation struct {
	Method  string
	Path    string // below /api/v1, as it is registered: /agents/:agent
	Summary string // what it does, in the imperative, without a full stop
	Query   []Query
	Body    Body  // zero: nothing is read
	Status  int   // of success; 0 is 200, or 204 where there is no Reply
	Reply   Reply // zero: no content
	Errors  []int // what is answered beside what every call may answer
}

// Query is a parameter of the query.
type Query struct {
	Name        string
	Type        string // string, integer or boolean
	Description string
	Required    bool
	Enum        []string // nil: any
}

// Body is what an operation reads.
type Body struct {
	member   string // under which the value stands; empty: it is the body
	value    any
	required []string
	closed   bool
	optional bool
}

// Member is a body whose one member is of the value's type: {"agent": {…}}. The
// names are those that must be there, and not be null.
func Member(name string, value any, required ...string) Body {
	return Body{member: name, value: value, required: required}
}

// Object is a body of the value's type. The names are those that must be there,
// and not be null; with none, the body may be empty.
func Object(value any, required ...string) Body { return Body{value: value, required: required} }

// Closed is the body where members that its type does not have are refused.
func (b Body) Closed() Body { b.closed = true; return b }

// Optional is the body that may be empty, or have null under its member's name.
func (b Body) Optional() Body { b.optional = true; return b }

// Reply is what an operation answers.
type Reply struct {
	envelope envelope
	value    any
	types    []string
}

type envelope int

const (
	none envelope = iota
	bare
	data
	list
	file
)

// Data answers {"data": value}.
func Data(value any) Reply { return Reply{envelope: data, value: value} }

// List answers {"data": [value, …], "meta": {"total": n}}.
func List(value any) Reply { return Reply{envelope: list, value: value} }

// Bare answers the value without an envelope.
func Bare(value any) Reply { return Reply{envelope: bare, value: value} }

// File answers bytes of one of the content types.
func File(types ...string) Reply { return Reply{envelope: file, types: types} }

// base is where the operations' paths begin.
const base = "/api/v1"

// Document returns the description of an API as JSON. An error is a mistake in
// the sections: an operation twice, or a type that has no schema.
func Document(sections ...Section) ([]byte, error) {
	doc := document{
		OpenAPI: "3.1.0",
		Info: info{
			Title: "wagent", Version: "1",
			Description: "The agents API of wagent, a WhatsApp gateway that runs AI agents on what comes in. " +
				"Times are in UTC and whole seconds. In a request, members that are not known are passed over, unless the schema says otherwise, " +
				"and null empties what can be empty, or is as if the member were not there.",
			License: license{"Apache 2.0", "Apache-2.0"},
		},
		Servers:  []server{{"/"}},
		Security: []map[string][]string{{"key": {}}},
		Paths:    map[string]map[string]operation{},
	}
	s := newSchemas()
	for _, section := range sections {
		doc.Tags = append(doc.Tags, tag{section.Name, section.Description})
		for i := range section.Operations {
			if err := doc.add(s, section.Name, &section.Operations[i]); err != nil {
				return nil, fmt.Errorf("%s %s: %w", section.Operations[i].Method, section.Operations[i].Path, err)
			}
		}
	}
	doc.Components = components{
		Schemas:    s.definitions,
		Responses:  failures(),
		Parameters: map[string]parameter{idempotencyKey.component: idempotencyKey.parameter},
		SecuritySchemes: map[string]securityScheme{
			"key": {Type: "http", Scheme: "bearer", Description: "An API key: wrb_live_… or wrb_test_…"},
		},
	}
	return json.Marshal(doc)
}

func (d *document) add(s *schemas, section string, op *Operation) error {
	path, params := pathOf(op.Path)
	method := strings.ToLower(op.Method)
	if d.Paths[path] == nil {
		d.Paths[path] = map[string]operation{}
	}
	if _, twice := d.Paths[path][method]; twice {
		return fmt.Errorf("described twice")
	}
	if op.Summary == "" {
		return fmt.Errorf("no summary")
	}
	out := operation{ID: operationID(method, op.Path), Summary: op.Summary, Tags: []string{section}, Parameters: params}
	for _, q := range op.Query {
		out.Parameters = append(out.Parameters, q.parameter())
	}
	if op.Method == http.MethodPost {
		out.Parameters = append(out.Parameters, parameter{Ref: "#/components/parameters/" + idempotencyKey.component})
	}
	var err error
	if out.Body, err = s.body(&op.Body); err != nil {
		return err
	}
	if out.Responses, err = s.responses(op); err != nil {
		return err
	}
	d.Paths[path][method] = out
	return nil
}

// pathOf turns a path of echo's into one of OpenAPI's, and its parameters.
func pathOf(route string) (string, []parameter) {
	var params []parameter
	segments := strings.Split(route, "/")
	for i, segment := range segments {
		if name, ok := strings.CutPrefix(segment, ":"); ok {
			segments[i] = "{" + name + "}"
			params = append(params, parameter{Name: name, In: "path", Required: true, Schema: typed("string")})
		}
	}
	return base + strings.Join(segments, "/"), params
}

// operationID makes a name of a method and a path, of which no two are the same.
func operationID(method, route string) string {
	return method + strings.NewReplacer("/:", "_by_", "/", "_").Replace(route)
}

func (q *Query) parameter() parameter {
	schema := typed(q.Type)
	for _, v := range q.Enum {
		schema.Enum = append(schema.Enum, v)
	}
	return parameter{Name: q.Name, In: "query", Description: q.Description, Required: q.Required, Schema: schema}
}

// responses are the answer to success, what the call adds, and what any call may
// answer.
func (s *schemas) responses(op *Operation) (map[string]response, error) {
	status := op.Status
	switch {
	case status != 0:
	case op.Reply.envelope == none:
		status = http.StatusNoContent
	default:
		status = http.StatusOK
	}
	success, err := s.reply(&op.Reply, status)
	if err != nil {
		return nil, err
	}
	out := map[string]response{strconv.Itoa(status): success}
	codes := append([]int{401, 403, 429, 500, 503}, op.Errors...)
	if strings.Contains(op.Path, ":") {
		codes = append(codes, http.StatusNotFound)
	}
	if len(op.Query) > 0 {
		codes = append(codes, http.StatusBadRequest)
	}
	if op.Method == http.MethodPost {
		// It may have an Idempotency-Key, which may be no key, may have come with
		// another body, and for which a body is read that the call has no use for.
		codes = append(codes, 400, 408, 409, 413)
	}
	if op.Body.value != nil {
		codes = append(codes, 400, 408, 413, 422)
	}
	for _, code := range codes {
		if _, known := failureTexts[code]; !known {
			return nil, fmt.Errorf("no failure is answered with %d", code)
		}
		out[strconv.Itoa(code)] = response{Ref: "#/components/responses/" + failureName(code)}
	}
	return out, nil
}

// Routes returns what a document describes: methods and paths of echo's.
func Routes(sections ...Section) []string {
	routes := map[string]bool{}
	for _, s := range sections {
		for i := range s.Operations {
			routes[s.Operations[i].Method+" "+base+s.Operations[i].Path] = true
		}
	}
	return slices.Sorted(maps.Keys(routes))
}
