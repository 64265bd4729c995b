package check

import (
	"regexp"
	"time"
)

// wall is what a model writes who forgets the zone: RFC 3339 without the
// offset, or without the seconds as well. The space is ISO 8601's older form.
var wall = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?$`)

// wallClock reads a date and time without a zone, as if it were in UTC. It
// reports false for what is none, or is no day and time of any calendar.
func wallClock(s string) (time.Time, bool) {
	if !wall.MatchString(s) {
		return time.Time{}, false
	}
	s = s[:10] + "T" + s[11:]
	if len(s) == len("2006-01-02T15:04") {
		s += ":00"
	}
	t, err := time.Parse("2006-01-02T15:04:05", s)
	return t, err == nil
}

// at returns the times at which clocks in loc show what clock does in UTC,
// the earlier one first: none where clocks are put forward past it, two where
// they are put back to before it.
func at(clock time.Time, loc *time.Location) []time.Time {
	var out []time.Time
	// No zone changes twice within two days any more, so that what holds a day before
	// and a day after are all the offsets that can hold at this time. The day is
	// the widest gap that there ever was: 30 December 2011, in Samoa.
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := clock.Add(near).In(loc).Zone()
		t := clock.Add(-time.Duration(offset) * time.Second).In(loc)
		_, y := t.Zone()
		if y == offset && (len(out) == 0 || !out[0].Equal(t)) {
			out = append(out, t)
		}
	}
	return out // clocks are put back from the greater offset, which is the earlier time
}
