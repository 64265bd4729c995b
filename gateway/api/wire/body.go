// Package wire is how requests and answers look, whatever they are about: one
// place for the envelopes, the words and statuses of errors, and what a body
// or path may hold at all.
//
// It guarantees that what a body says can be stored by both databases, that an
// error of nobody's making shows nothing of its cause, and that timestamps are
// what the SDKs take. It keeps no state.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
)

// Object is a JSON object whose members have not been looked at.
type Object map[string]json.RawMessage

// ReadObject reads a request's body, whatever its Content-Type says: one of
// the SDKs sends none. A body of no bytes is an empty object.
func ReadObject(c echo.Context) (Object, error) {
	b, err := io.ReadAll(c.Request().Body)
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, echo.NewHTTPError(http.StatusRequestEntityTooLarge, "The body is too large").SetInternal(err)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, echo.NewHTTPError(http.StatusRequestTimeout, "The body took too long").SetInternal(err)
		}
		return nil, echo.NewHTTPError(http.StatusBadRequest, "The body could not be read").SetInternal(err)
	}
	return parseObject(b)
}

// ReadMember reads the member of a request's body that holds what the call is
// about, as most calls wrap it: {"agent": {…}}.
func ReadMember(c echo.Context, name string, into any) error {
	body, err := ReadObject(c)
	if err != nil {
		return err
	}
	fields, err := body.Member(name)
	if err != nil {
		return err
	}
	return fields.Into(into)
}

func parseObject(b []byte) (Object, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return Object{}, nil
	}
	if !utf8.Valid(b) {
		return nil, BadRequest("The body is not UTF-8")
	}
	if !json.Valid(b) {
		return nil, BadRequest("The body is not valid JSON")
	}
	var o Object
	if err := json.Unmarshal(b, &o); err != nil || o == nil {
		return nil, BadRequest("The body must be a JSON object")
	}
	if unstorable(b) {
		return nil, BadRequest("The body holds a zero character or half of a surrogate pair")
	}
	return o, nil
}

// unstorable reports whether valid JSON has an escape that PostgreSQL stores
// neither as text nor as JSON: the zero character, or a surrogate alone.
// Backslashes occur in strings only, so it need not know where it is.
func unstorable(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		i++
		if b[i] != 'u' {
			continue
		}
		switch unit(b[i+1:]) {
		case nul, low:
			return true
		case high:
			if i+6 >= len(b) || b[i+5] != '\\' || b[i+6] != 'u' || unit(b[i+7:]) != low {
				return true
			}
			i += 6
		}
	}
	return false
}

// What the four hexadecimal digits of an escape stand for.
const (
	other = iota
	nul
	high // the first of a surrogate pair
	low  // the second
)

func unit(b []byte) int {
	switch hex := strings.ToLower(string(b[:4])); {
	case hex == "0000":
		return nul
	case hex >= "d800" && hex <= "dbff":
		return high
	case hex >= "dc00" && hex <= "dfff":
		return low
	default:
		return other
	}
}

// Member returns the object that stands under a name, as agent or run.
func (o Object) Member(name string) (Object, error) {
	raw, ok := o[name]
	if !ok || isNull(raw) {
		return nil, BadRequest("Missing parameter: " + name)
	}
	var out Object
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, BadRequest(name + " must be an object")
	}
	return out, nil
}

// Into fills the fields of the struct that dst points to from the members that
// their json tags name. Other members are passed over; the error names every
// member of the wrong type.
func (o Object) Into(dst any) error {
	p := Problems{}
	v := reflect.ValueOf(dst).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		raw, ok := o[name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, v.Field(i).Addr().Interface()); err != nil {
			p.Add(name, mismatch(raw, err))
		}
	}
	return p.Err()
}

// maxUnknown keeps the answer to a nonsensical body readable.
const maxUnknown = 20

// IntoAll is Into where no member may be passed over: the error also names those
// that the struct has no field for, at most 20 of them.
func (o Object) IntoAll(dst any) error {
	p := Problems{}
	known := map[string]bool{}
	for f := range reflect.TypeOf(dst).Elem().Fields() {
		known[f.Tag.Get("json")] = true
	}
	for name := range o {
		if !known[name] && len(p) < maxUnknown {
			p.Add(name, "is not known")
		}
	}
	if err := p.Merge(o.Into(dst)); err != nil {
		return err
	}
	return p.Err()
}

// mismatch says what type a member should have had.
func mismatch(raw json.RawMessage, err error) string {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return "is not valid"
	}
	subject := ""
	switch {
	case isList(raw) && e.Type.Kind() != reflect.Slice && e.Field != "":
		subject = fmt.Sprintf("each entry's %s ", e.Field)
	case isList(raw) && e.Value != "array" && e.Type.Kind() != reflect.Slice:
		subject = "each entry "
	case e.Field != "":
		subject = e.Field + " "
	}
	return subject + "must be " + typeName(e.Type)
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

func isList(raw json.RawMessage) bool { return bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) }

// Nullable is a member for which null is a value: it empties the field. Where
// a member is a pointer instead, null is the same as absent.
type Nullable[T any] struct {
	Set   bool
	Value T
}

// UnmarshalJSON is called for null too (encoding/json.Unmarshaler).
func (n *Nullable[T]) UnmarshalJSON(b []byte) error {
	n.Set = true
	return json.Unmarshal(b, &n.Value)
}

// Of returns a nil *T: a value of a type that says what the member may be.
func (Nullable[T]) Of() any { return (*T)(nil) }

// To sets dst if the member was there.
func (n Nullable[T]) To(dst *T) {
	if n.Set {
		*dst = n.Value
	}
}
