package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"wagent/gateway"
)

// A violation is one rule that a value breaks.
type violation struct {
	path  []string
	words string // the path and the rule, without the value
}

func (v *violation) member() string { return v.path[0] }

// violations returns what is wrong with a value, in a stable order.
func violations(s *jsonschema.Schema, value any) []violation {
	err := s.Validate(value)
	if err == nil {
		return nil
	}
	ve, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []violation{{path: []string{""}, words: "it can not be validated"}}
	}
	var out []violation
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				walk(cause)
			}
			return
		}
		out = append(out, leaf(e)...)
	}
	walk(ve)
	slices.SortFunc(out, func(a, b violation) int { return strings.Compare(a.words, b.words) })
	return out
}

// leaf says in our words what one error of the library is: its own repeat the
// value, which may be a customer's.
func leaf(e *jsonschema.ValidationError) []violation {
	if k, ok := e.ErrorKind.(*kind.Required); ok {
		var out []violation
		for _, name := range k.Missing {
			path := append(slices.Clone(e.InstanceLocation), name)
			out = append(out, violation{path, strings.Join(path, ".") + " is missing"})
		}
		return out
	}
	rule := "is not valid"
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		rule = "must be of type " + strings.Join(k.Want, " or ")
	case *kind.Minimum:
		rule = "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		rule = "must be at most " + k.Want.RatString()
	case *kind.MaxLength:
		rule = fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.Pattern:
		rule = "must not be blank" // the only pattern that we use
	case *kind.Format:
		t := gateway.FieldType(k.Want)
		if k.Want == "date-time" {
			t = gateway.FieldDateTime
		}
		rule = "must be " + fieldWords(t)
	}
	path := slices.Clone(e.InstanceLocation)
	if len(path) == 0 {
		path = []string{"the answer"}
	}
	return []violation{{path, strings.Join(path, ".") + " " + rule}}
}
