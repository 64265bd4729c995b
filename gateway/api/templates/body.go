package templates

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// templateBody is a template as clients see it.
type templateBody struct {
	ID              gateway.TemplateID     `json:"id"`
	MetaTemplateID  *string                `json:"meta_template_id"`
	Name            string                 `json:"name"`
	Category        *string                `json:"category" enum:"MARKETING,UTILITY,AUTHENTICATION"`
	Status          gateway.TemplateStatus `json:"status" enum:"pending,approved,rejected,paused,disabled"`
	Language        string                 `json:"language"`
	HeaderType      *string                `json:"header_type" description:"The format of its HEADER, as TEXT"`
	Components      map[string]component   `json:"components" description:"By type, as BODY, each as Meta has it"`
	Examples        map[string][]string    `json:"variable_examples" description:"By type of component"`
	RejectionReason *string                `json:"rejection_reason"`
	CreatedAt       *string                `json:"created_at"`
	UpdatedAt       *string                `json:"updated_at"`
}

func newTemplateBody(t *gateway.Template) templateBody {
	b := templateBody{
		ID: t.ID, MetaTemplateID: wire.OrNull(t.ExternalID), Name: t.Name, Category: wire.OrNull(string(t.Category)), Status: t.Status,
		Language: t.Language, Components: map[string]component{}, Examples: map[string][]string{},
		RejectionReason: wire.OrNull(t.Reason), CreatedAt: wire.Stamp(t.CreatedAt), UpdatedAt: wire.Stamp(t.UpdatedAt),
	}
	for _, c := range componentsOf(t) {
		kind := c.kind()
		if examples := c.examples(); len(examples) > 0 {
			b.Examples[kind] = examples
		}
		if kind == header {
			b.HeaderType = wire.OrNull(c.text("format"))
		}
		delete(c, "type")
		b.Components[kind] = c
	}
	return b
}

type createInput struct {
	Name       string          `json:"name" pattern:"^[a-z0-9_]{1,512}$"`
	Language   string          `json:"language" pattern:"^[a-z]{2,3}(_[A-Z]{2})?$"`
	Category   string          `json:"category" description:"MARKETING, UTILITY or AUTHENTICATION, in either case"`
	HeaderType string          `json:"header_type" description:"The format of the HEADER, where that does not say it: TEXT, IMAGE, VIDEO, DOCUMENT or LOCATION, in either case"`
	Components json.RawMessage `json:"components" description:"Meta's list of components, or an object of them by type, where a string is a text and a list is the buttons"`
	Examples   json.RawMessage `json:"variable_examples" description:"An object of lists of strings by HEADER and BODY: what their variables may be, or a file; a string is a list of one"`
}

// template returns what is asked for, or what is wrong with each of its fields.
func (in *createInput) template(account gateway.AccountID) (gateway.Template, error) {
	t := gateway.Template{
		Account: account, Name: in.Name, Language: in.Language, Category: gateway.TemplateCategory(strings.ToUpper(in.Category)),
	}
	p := wire.Problems{}
	checkName(p, t.Name, t.Language)
	switch {
	case t.Category == "":
		p.Add("category", "can't be blank")
	case !slices.Contains(categories, t.Category):
		p.Add("category", "must be one of "+oneOf(categories))
	}
	cs := readComponents(in.Components, p)
	if kind := strings.ToUpper(in.HeaderType); kind != "" {
		setHeaderType(cs, kind, p)
	}
	fillExamples(cs, in.Examples, p)
	if len(p["components"]) == 0 && len(p["category"]) == 0 {
		checkComponents(cs, t.Category, p)
	}
	if err := p.Err(); err != nil {
		return t, err
	}
	raw, err := json.Marshal(cs)
	if err != nil {
		return t, fmt.Errorf("encode components: %w", err)
	}
	t.Components = raw
	return t, nil
}

var (
	namePattern     = regexp.MustCompile(`^[a-z0-9_]{1,512}$`)
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}(_[A-Z]{2})?$`)
)

func checkName(p wire.Problems, name, language string) {
	switch {
	case name == "":
		p.Add("name", "can't be blank")
	case !namePattern.MatchString(name):
		p.Add("name", "must have 1 to 512 lower-case letters, digits and underscores")
	}
	switch {
	case language == "":
		p.Add("language", "can't be blank")
	case !languagePattern.MatchString(language):
		p.Add("language", "must be a code such as en or pt_BR")
	}
}
