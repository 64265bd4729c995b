package graphtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Template is a message template of a business account, in Meta's words.
type Template struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Language   string `json:"language"`
	Category   string `json:"category"`
	Status     string `json:"status"`
	Reason     string `json:"rejected_reason"`
	Format     string `json:"parameter_format"`
	Components []any  `json:"components"`
}

// AddBusiness makes the server know a business account and the token that
// manages it; others are refused from then on.
func (s *Server) AddBusiness(waba, token string) { s.AddNumber(waba, token) }

// PutTemplate adds a template to a business account, or replaces the one of its
// name and language, and returns it as it is then. What is empty is as it was;
// in a new one it is a number, UTILITY, APPROVED and a body.
func (s *Server) PutTemplate(waba string, t Template) Template {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := Template{Category: "UTILITY", Status: "APPROVED", Reason: "NONE", Format: "POSITIONAL", Components: []any{
		map[string]any{"type": "BODY", "text": "Hello"},
	}}
	i := s.template(waba, t.Name, t.Language)
	if i >= 0 {
		old = s.templates[waba][i]
	} else {
		s.made++
		old.ID = strconv.Itoa(5000 + s.made)
		i = len(s.templates[waba])
		s.templates[waba] = append(s.templates[waba], old)
	}
	for to, from := range map[*string]string{&t.ID: old.ID, &t.Category: old.Category, &t.Status: old.Status, &t.Reason: old.Reason, &t.Format: old.Format} {
		if *to == "" {
			*to = from
		}
	}
	if t.Components == nil {
		t.Components = old.Components
	}
	s.templates[waba][i] = t
	return t
}

// DropTemplates deletes a business account's templates of a name.
func (s *Server) DropTemplates(waba, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.templates[waba] = slices.DeleteFunc(s.templates[waba], func(t Template) bool { return t.Name == name })
}

// Templates returns a business account's templates, in the order in which they
// were made.
func (s *Server) Templates(waba string) []Template {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.templates[waba])
}

// TemplateStatus returns an entry in which Meta tells of a template's status, in
// an event such as APPROVED. An empty reason is NONE.
func (n Number) TemplateStatus(t Template, event, reason string, at time.Time) Entry {
	if reason == "" {
		reason = "NONE"
	}
	return Entry{"id": n.WABA, "time": at.Unix(), "changes": []any{map[string]any{
		"field": "message_template_status_update",
		"value": map[string]any{
			"event": event, "message_template_id": json.Number(t.ID), "message_template_name": t.Name,
			"message_template_language": t.Language, "message_template_category": t.Category, "reason": reason,
		},
	}}}
}

// template returns the place of a template, or -1. s must be locked.
func (s *Server) template(waba, name, language string) int {
	return slices.IndexFunc(s.templates[waba], func(t Template) bool { return t.Name == name && t.Language == language })
}

// serveTemplates answers the edge message_templates of a business account.
func (s *Server) serveTemplates(w http.ResponseWriter, r *http.Request, waba string, body []byte) {
	status, fault := s.authorize(r, waba)
	s.mu.Lock()
	scripted := s.begin()
	var reply any
	if fault == nil && (scripted == nil || scripted.Take) {
		status = http.StatusBadRequest
		switch r.Method {
		case http.MethodGet:
			reply, fault = s.listTemplates(r.URL.Query(), waba)
		case http.MethodPost:
			reply, fault = s.makeTemplate(r.Header.Get("Content-Type"), waba, body)
		case http.MethodDelete:
			reply, fault = s.deleteTemplate(r.URL.Query(), waba)
		default:
			fault = &graphError{Code: 2500, Message: "Unsupported method " + r.Method}
		}
	}
	s.mu.Unlock()
	switch {
	case scripted != nil:
		scripted.answer(w, r)
	case fault != nil:
		refuse(w, status, *fault)
	default:
		write(w, http.StatusOK, reply)
	}
}

func wrongTemplate(format string, args ...any) *graphError {
	return &graphError{Code: 100, Message: "(#100) " + fmt.Sprintf(format, args...)}
}

var templateFields = []string{"id", "name", "language", "category", "status", "components", "rejected_reason", "parameter_format", "quality_score"}

// listTemplates pages as Meta does: the address of the next page holds a token.
func (s *Server) listTemplates(q url.Values, waba string) (any, *graphError) {
	fields := strings.Split(q.Get("fields"), ",")
	for _, f := range fields {
		if f != "" && !slices.Contains(templateFields, f) {
			return nil, wrongTemplate("Tried accessing nonexisting field (%s)", f)
		}
	}
	limit, first := 25, 0
	for name, to := range map[string]*int{"limit": &limit, "after": &first} {
		if v := q.Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return nil, wrongTemplate("Param %s must be a cursor or a positive number", name)
			}
			*to = n
		}
	}
	var found []map[string]any
	for _, t := range s.templates[waba] {
		if name := q.Get("name"); name != "" && !strings.Contains(t.Name, name) {
			continue
		}
		found = append(found, shown(t, fields))
	}
	first = min(first, len(found))
	last := min(first+limit, len(found))
	paging := map[string]any{"cursors": map[string]any{"before": strconv.Itoa(first), "after": strconv.Itoa(last)}}
	if last < len(found) {
		paging["next"] = "https://graph.facebook.com/v23.0/" + waba + "/message_templates?access_token=leaked&after=" + strconv.Itoa(last)
	}
	return map[string]any{"data": append([]map[string]any{}, found[first:last]...), "paging": paging}, nil
}

// shown is a template with the fields that were asked for; its id always.
func shown(t Template, fields []string) map[string]any {
	var all map[string]any
	b, err := json.Marshal(t)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		panic(err) // components that can't be JSON: the caller's error
	}
	for name := range all {
		if name != "id" && !slices.Contains(fields, name) {
			delete(all, name)
		}
	}
	return all
}

// submitted is the body that makes a template, with every field that Meta
// documents for it and no other.
type submitted struct {
	Name          string           `json:"name"`
	Language      string           `json:"language"`
	Category      string           `json:"category"`
	Format        string           `json:"parameter_format"`
	TTL           int              `json:"message_send_ttl_seconds"`
	AllowCategory bool             `json:"allow_category_change"`
	Components    []map[string]any `json:"components"`
}

var (
	templateLanguage = regexp.MustCompile(`^[a-z]{2,3}(_[A-Z]{2})?$`)
	variable         = regexp.MustCompile(`\{\{[^{}]+\}\}`)
)

func (s *Server) makeTemplate(contentType, waba string, body []byte) (any, *graphError) {
	if !strings.HasPrefix(contentType, "application/json") {
		return nil, wrongTemplate("Content-Type must be application/json")
	}
	var t submitted
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return nil, wrongTemplate("Invalid parameter: %v", err)
	}
	switch {
	case !templateName.MatchString(t.Name):
		return nil, wrongTemplate("Param name must only contain lowercase alphanumeric characters and underscores")
	case !templateLanguage.MatchString(t.Language):
		return nil, wrongTemplate("Param language must be a supported language code")
	case !slices.Contains([]string{"MARKETING", "UTILITY", "AUTHENTICATION"}, t.Category):
		return nil, wrongTemplate("Param category must be one of {MARKETING, UTILITY, AUTHENTICATION}")
	case !slices.Contains([]string{"", "NAMED", "POSITIONAL"}, t.Format):
		return nil, wrongTemplate("Param parameter_format must be one of {NAMED, POSITIONAL}")
	case s.template(waba, t.Name, t.Language) >= 0:
		e := wrongTemplate("Invalid parameter")
		e.Subcode, e.UserTitle = 2388024, "Content in this language already exists"
		e.UserMsg = "There is already content of " + t.Name + " in that language. Make a new template instead."
		return nil, e
	}
	if e := checkComponents(&t); e != nil {
		return nil, e
	}
	s.made++
	made := Template{
		ID: strconv.Itoa(5000 + s.made), Name: t.Name, Language: t.Language, Category: t.Category,
		Status: "PENDING", Reason: "NONE", Format: t.Format,
	}
	for _, c := range t.Components {
		made.Components = append(made.Components, c)
	}
	s.templates[waba] = append(s.templates[waba], made)
	return map[string]any{"id": made.ID, "status": made.Status, "category": made.Category}, nil
}

// checkComponents wants one body, known types, and an example for what has
// variables.
func checkComponents(t *submitted) *graphError {
	bodies := 0
	for _, c := range t.Components {
		kind, _ := c["type"].(string)
		if !slices.Contains([]string{"HEADER", "BODY", "FOOTER", "BUTTONS", "CAROUSEL", "LIMITED_TIME_OFFER"}, kind) {
			return wrongTemplate("Param components[type] must be one of {HEADER, BODY, FOOTER, BUTTONS, CAROUSEL, LIMITED_TIME_OFFER}")
		}
		if kind == "BODY" {
			bodies++
		}
		text, _ := c["text"].(string)
		if kind == "BODY" && text == "" && t.Category != "AUTHENTICATION" || kind == "HEADER" && c["format"] == nil {
			return wrongTemplate("components: component of type %s is missing expected field(s)", kind)
		}
		example, _ := c["example"].(map[string]any)
		needs := variable.MatchString(text) || kind == "HEADER" && c["format"] != "TEXT" && c["format"] != "LOCATION"
		if needs && len(example) == 0 {
			e := wrongTemplate("Invalid parameter")
			e.Subcode, e.UserTitle = 2388043, "Message template \"components\" param is missing expected field(s)"
			e.UserMsg = "component of type " + kind + " is missing expected field(s) (example)"
			return e
		}
	}
	if bodies != 1 {
		return wrongTemplate("Param components must have one component of type BODY")
	}
	return nil
}

func (s *Server) deleteTemplate(q url.Values, waba string) (any, *graphError) {
	name, id := q.Get("name"), q.Get("hsm_id")
	if name == "" {
		return nil, wrongTemplate("The parameter name is required.")
	}
	before := len(s.templates[waba])
	s.templates[waba] = slices.DeleteFunc(s.templates[waba], func(t Template) bool { return t.Name == name && (id == "" || t.ID == id) })
	if len(s.templates[waba]) == before {
		e := wrongTemplate("Invalid parameter")
		e.UserTitle, e.UserMsg = "Message template not found", "No template "+name+" is there"
		return nil, e
	}
	return map[string]any{"success": true}, nil
}
