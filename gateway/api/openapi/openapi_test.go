package openapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway/api/wire"
)

type thingBody struct {
	ID        string          `json:"id"`
	Mode      *string         `json:"mode" enum:"a,b"`
	Parts     []partBody      `json:"parts"`
	Maybe     []string        `json:"maybe" nullable:"true"`
	Main      *partBody       `json:"main"`
	Any       json.RawMessage `json:"any"`
	Left      int             `json:"left,omitempty"`
	CreatedAt *string         `json:"created_at"`
}

type partBody struct {
	Free map[string]any `json:"free"`
}

type thingInput struct {
	Name  wire.Nullable[string]      `json:"name"`
	Size  *int                       `json:"size" minimum:"1"`
	Parts wire.Nullable[[]partBody]  `json:"parts"`
	Main  wire.Nullable[*partBody]   `json:"main"`
	Free  wire.Nullable[wire.Object] `json:"free"`
}

func operations() []Operation {
	return []Operation{
		{Method: http.MethodPost, Path: "/things", Summary: "Create", Body: Member("thing", thingInput{}, "name"), Status: http.StatusCreated, Reply: Data(thingBody{})},
		{Method: http.MethodDelete, Path: "/things/:thing", Summary: "Delete", Errors: []int{http.StatusConflict}},
		{Method: http.MethodPost, Path: "/things/:thing/wind", Summary: "Wind up", Status: http.StatusAccepted, Reply: Data(thingBody{})},
	}
}

func TestSchemasSayWhatTheTypesTakeAndGive(t *testing.T) {
	doc, err := Document(Section{Name: "Things", Operations: operations()})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"openapi.Thing": `{
			"required": ["id", "mode", "parts", "maybe", "main", "any", "created_at"],
			"properties": {
				"id": {"type": "string"},
				"mode": {"enum": ["a", "b", null], "type": ["null", "string"]},
				"parts": {"items": {"$ref": "#/components/schemas/openapi.Part"}, "type": "array"},
				"maybe": {"items": {"type": "string"}, "type": ["array", "null"]},
				"main": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/openapi.Part"}]},
				"any": {},
				"left": {"type": "integer"},
				"created_at": {"type": ["null", "string"], "format": "date-time"}
			},
			"type": "object"
		}`,
		"openapi.ThingInput": `{
			"properties": {
				"name": {"type": ["null", "string"]},
				"size": {"minimum": 1, "type": ["null", "integer"]},
				"parts": {"items": {"$ref": "#/components/schemas/openapi.PartInput"}, "type": ["null", "array"]},
				"main": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/openapi.PartInput"}]},
				"free": {"additionalProperties": {}, "type": ["null", "object"]}
			},
			"type": "object"
		}`,
	} {
		var a, b any
		if err := json.Unmarshal([]byte(want), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got.Components.Schemas[name], &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	for name := range got.Components.Schemas {
		if name != "Error" && !strings.HasPrefix(name, "openapi.") {
			t.Errorf("%s is a schema of its own", name)
		}
	}
}

func TestEveryCallSaysHowItMayFail(t *testing.T) {
	doc, err := Document(Section{Name: "Things", Operations: operations()})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Paths map[string]map[string]struct {
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	for call, want := range map[[2]string]string{
		{"/api/v1/things", "post"}:           "201 400 401 403 408 409 413 422 429 500 503",
		{"/api/v1/things/{thing}", "delete"}: "204 401 403 404 409 429 500 503",
		// It reads nothing, but for its Idempotency-Key.
		{"/api/v1/things/{thing}/wind", "post"}: "202 400 401 403 404 408 409 413 429 500 503",
	} {
		var codes []string
		for code := range strings.FieldsSeq("200 201 202 204 400 401 403 404 408 409 410 413 422 429 500 502 503") {
			if _, ok := got.Paths[call[0]][call[1]].Responses[code]; ok {
				codes = append(codes, code)
			}
		}
		if diff := cmp.Diff(want, strings.Join(codes, " ")); diff != "" {
			t.Errorf("%s: -want +got:\n%s", call, diff)
		}
	}
}

func TestMistakesInOperationsAreFound(t *testing.T) {
	for name, tt := range map[string]struct {
		operations []Operation
		want       string
	}{
		"a call twice":                   {append(operations(), operations()[0]), "POST /things: described twice"},
		"no summary":                     {[]Operation{{Method: http.MethodGet, Path: "/x"}}, "GET /x: no summary"},
		"a status that is no failure":    {[]Operation{{Method: http.MethodGet, Path: "/x", Summary: "X", Errors: []int{418}}}, "GET /x: no failure is answered with 418"},
		"a required member there is not": {[]Operation{{Method: http.MethodPut, Path: "/x", Summary: "X", Body: Object(thingInput{}, "height")}}, "PUT /x: the body has no member height that could be required"},
		"a type that has no name":        {[]Operation{{Method: http.MethodPut, Path: "/x", Summary: "X", Body: Object(struct{}{}).Closed()}}, "PUT /x: struct {} has no name, so it can't be closed"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Document(Section{Name: "X", Operations: tt.operations}); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
