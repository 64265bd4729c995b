// Package mask hides what opens something, and whole phone numbers, in what the
// audit and the log keep of a request.
//
// It guarantees that of a number which it takes for one no more than the last four
// digits are left, and that our own ids are as they were. It keeps no state.
package mask

import (
	"regexp"
	"strings"
)

var (
	// opens matches what opens something for whoever has it, in a path by mistake or not.
	opens = regexp.MustCompile(`\b(wrb_live_|wrb_test_|con_)\w+`)
	// phone matches what may be a customer's number, however it is written.
	phone = regexp.MustCompile(`\p{Nd}(?:[ .()-]{0,2}\p{Nd}){6,}`)
	// id matches our own ids and digests of keys, whose digits are no number.
	id = regexp.MustCompile(`^(?:[a-z]+_(?:[a-z2-7]{26}|[0-9a-f]{32})|(?:agent-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|sha256:[0-9a-f]{64})$`)
	// wamid matches a message's id of Meta's, which has the number in base64.
	wamid = regexp.MustCompile(`\bwamid\.[\w+/=-]+`)
	// e164 matches a number as we write it, and nothing else in a text.
	e164  = regexp.MustCompile(`\+\p{Nd}{7,}`)
	digit = regexp.MustCompile(`\p{Nd}`)
)

// shown is how many digits of a number are kept: enough to tell which of two
// customers it was, too few to call one.
const shown = 4

// Path returns a path, or a part of one, without what opens something and without
// whole phone numbers.
func Path(path string) string {
	path = opens.ReplaceAllString(path, "$1(…)")
	path = wamid.ReplaceAllString(path, "wamid.(…)")
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if !id.MatchString(segment) {
			segments[i] = phone.ReplaceAllStringFunc(segment, Number)
		}
	}
	return strings.Join(segments, "/")
}

// Text returns a text without what opens something and without the numbers that
// are written in E.164 form. Other digits in it may be a time or an address.
func Text(text string) string {
	text = opens.ReplaceAllString(text, "$1(…)")
	text = wamid.ReplaceAllString(text, "wamid.(…)")
	return e164.ReplaceAllStringFunc(text, Number)
}

// Number is a number whose last digits alone are shown.
func Number(number string) string {
	left := len(digit.FindAllString(number, -1)) - shown
	return digit.ReplaceAllStringFunc(number, func(d string) string {
		if left--; left >= 0 {
			return "*"
		}
		return d
	})
}
