package openapi

import (
	"fmt"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/swaggest/jsonschema-go"
)

// schemas makes schemas of Go types, and gathers those that have a name.
type schemas struct {
	reflector   jsonschema.Reflector
	definitions map[string]*jsonschema.Schema
}

const prefix = "#/components/schemas/"

func newSchemas() *schemas {
	s := &schemas{definitions: map[string]*jsonschema.Schema{}}
	s.definitions["Error"] = errorSchema()
	return s
}

// errorSchema is wire's errorBody. Details is there where members of the body are
// to blame.
func errorSchema() *jsonschema.Schema {
	messages := object(nil)
	messages.WithAdditionalProperties(arrayOf(typed("string")).ToSchemaOrBool())
	return object(map[string]*jsonschema.Schema{"error": typed("string"), "details": messages}, "error")
}

// An of is a type that stands for another one: wire.Nullable[T].
type of interface{ Of() any }

// schema returns the schema of a value's type, which is a reference if the type
// has a name. What is read requires nothing; what is answered, all that is not
// omitempty.
func (s *schemas) schema(value any, read bool) (*jsonschema.Schema, error) {
	out, err := s.reflector.Reflect(value,
		jsonschema.RootRef, jsonschema.DefinitionsPrefix(prefix),
		func(rc *jsonschema.ReflectContext) { rc.EnvelopNullability = true },
		jsonschema.InterceptDefName(func(t reflect.Type, otherwise string) string { return definitionName(t, read, otherwise) }),
		jsonschema.CollectDefinitions(func(name string, d jsonschema.Schema) { s.definitions[name] = &d }),
		jsonschema.InterceptSchema(func(p jsonschema.InterceptSchemaParams) (bool, error) { return s.replace(p, read) }),
		jsonschema.InterceptProp(func(p jsonschema.InterceptPropParams) error { return adjust(p, read) }),
	)
	return &out, err
}

// definitionName is the name of a type's schema: whatsrb.Agent for agentBody,
// whatsrb.AgentInput for agentInput. A type that is answered and read has two
// schemas, and so two names.
func definitionName(t reflect.Type, read bool, otherwise string) string {
	if t.Kind() != reflect.Struct || t.Implements(reflect.TypeFor[of]()) {
		return otherwise // it is written out where it stands
	}
	name := strings.TrimSuffix(t.Name(), "Body")
	if read {
		name = strings.TrimSuffix(name, "Input") + "Input"
	}
	return path.Base(t.PkgPath()) + "." + strings.ToUpper(name[:1]) + name[1:]
}

// replace makes the schema of a type that stands for another one, and has only
// structs be definitions.
func (s *schemas) replace(p jsonschema.InterceptSchemaParams, read bool) (bool, error) {
	if p.Processed || !p.Value.IsValid() {
		return false, nil
	}
	t := p.Value.Type()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n, ok := reflect.TypeAssert[of](reflect.Zero(t))
	if ok || t.Kind() == reflect.Map || t.Kind() == reflect.Slice {
		s.reflector.InlineDefinition(reflect.Zero(t).Interface())
	}
	if !ok {
		return false, nil
	}
	inner, err := s.schema(n.Of(), read)
	if err != nil {
		return true, err
	}
	*p.Schema = *orNull(inner)
	return true, nil
}

// adjust says of a member what its type and tags have not said.
func adjust(p jsonschema.InterceptPropParams, read bool) error {
	if !p.Processed {
		return nil
	}
	schema, kind := p.PropertySchema, p.Field.Type.Kind()
	if len(schema.AnyOf) > 0 { // null or a reference: the reflector leaves a type beside them, which is not null
		schema.Type = nil
		for _, one := range schema.AnyOf {
			if one.TypeObject.Ref != nil {
				one.TypeObject.Type = nil
			}
		}
	}
	if read && schema.Type != nil {
		schema.AddType(jsonschema.Null) // which empties the field, or is as if it were not there
	}
	if !read {
		if !strings.Contains(p.Field.Tag.Get("json"), ",omit") {
			p.ParentSchema.Required = append(p.ParentSchema.Required, p.Name)
		}
		if (kind == reflect.Slice || kind == reflect.Map) && p.Field.Tag.Get("nullable") != "true" {
			schema.RemoveType(jsonschema.Null) // handlers never leave them nil: clients index them
		}
	}
	if schema.HasType(jsonschema.String) && (strings.HasSuffix(p.Name, "_at") || strings.HasSuffix(p.Name, "_until")) {
		schema.WithFormat("date-time")
	}
	if len(schema.Enum) > 0 && schema.HasType(jsonschema.Null) && !slices.Contains(schema.Enum, nil) {
		schema.Enum = append(schema.Enum, nil)
	}
	return nil
}

// body is what an operation reads: its type, and which members it must have.
func (s *schemas) body(b *Body) (*requestBody, error) {
	if b.value == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	schema, err := s.schema(b.value, true)
	if err != nil {
		return nil, err
	}
	if b.closed {
		d, ok := s.definitions[strings.TrimPrefix(deref(schema.Ref), prefix)]
		if !ok {
			return nil, fmt.Errorf("%T has no name, so it can't be closed", b.value)
		}
		d.WithAdditionalProperties(jsonschema.SchemaOrBool{TypeBoolean: new(false)})
	}
	if len(b.required) > 0 {
		if schema, err = s.requiring(schema, b.required); err != nil {
			return nil, err
		}
	}
	switch {
	case b.member != "" && b.optional:
		schema = object(map[string]*jsonschema.Schema{b.member: orNull(schema)})
	case b.member != "":
		schema = object(map[string]*jsonschema.Schema{b.member: schema}, b.member)
	}
	return &requestBody{Required: !b.optional && (b.member != "" || len(b.required) > 0), Content: asJSON(schema)}, nil
}

// requiring is the schema with members that must be there and not be null.
func (s *schemas) requiring(schema *jsonschema.Schema, names []string) (*jsonschema.Schema, error) {
	d, ok := s.definitions[strings.TrimPrefix(deref(schema.Ref), prefix)]
	if !ok {
		d = schema
	}
	there := new(jsonschema.Schema)
	there.Required = names
	for _, name := range names {
		if _, ok := d.Properties[name]; !ok {
			return nil, fmt.Errorf("the body has no member %s that could be required", name)
		}
		notNull := new(jsonschema.Schema).WithNot(typed("null").ToSchemaOrBool())
		there.WithPropertiesItem(name, notNull.ToSchemaOrBool())
	}
	return new(jsonschema.Schema).WithAllOf(schema.ToSchemaOrBool(), there.ToSchemaOrBool()), nil
}

// reply is the answer to success.
func (s *schemas) reply(r *Reply, status int) (response, error) {
	out := response{Description: http.StatusText(status)}
	switch r.envelope {
	case none:
		return out, nil
	case file:
		out.Content = map[string]content{}
		for _, t := range r.types {
			out.Content[t] = content{}
		}
		return out, nil
	case bare, data, list:
	}
	schema, err := s.schema(r.value, false)
	if err != nil {
		return out, err
	}
	switch r.envelope {
	case data:
		schema = object(map[string]*jsonschema.Schema{"data": schema}, "data")
	case list:
		total := object(map[string]*jsonschema.Schema{"total": typed("integer")}, "total")
		schema = object(map[string]*jsonschema.Schema{"data": arrayOf(schema), "meta": total}, "data", "meta")
	case none, bare, file:
	}
	out.Content = asJSON(schema)
	return out, nil
}

func typed(name string) *jsonschema.Schema {
	return new(jsonschema.Schema).WithType(jsonschema.SimpleType(name).Type())
}

func reference(name string) *jsonschema.Schema {
	return new(jsonschema.Schema).WithRef(prefix + name)
}

func arrayOf(item *jsonschema.Schema) *jsonschema.Schema {
	return typed("array").WithItems(*new(jsonschema.Items).WithSchemaOrBool(item.ToSchemaOrBool()))
}

func object(members map[string]*jsonschema.Schema, required ...string) *jsonschema.Schema {
	out := typed("object")
	out.Required = required
	for name, m := range members {
		out.WithPropertiesItem(name, m.ToSchemaOrBool())
	}
	return out
}

// orNull is the schema, or null.
func orNull(s *jsonschema.Schema) *jsonschema.Schema {
	switch {
	case s.Ref != nil:
		return new(jsonschema.Schema).WithAnyOf(typed("null").ToSchemaOrBool(), s.ToSchemaOrBool())
	case s.Type != nil && !s.HasType(jsonschema.Null):
		s.AddType(jsonschema.Null)
	}
	return s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
