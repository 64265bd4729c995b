package check

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

func location(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// TestDatesAndTimesOfTheBusiness has what models write for a datetime, and the
// zone of the account.
func TestDatesAndTimesOfTheBusiness(t *testing.T) {
	const (
		berlin    = "Europe/Berlin"
		newYork   = "America/New_York"
		malformed = "actions[0].payload.at must be a date and time such as 2026-11-30T14:30, local time of the business unless the customer names another zone, whose offset then follows"
		gap       = "actions[0].payload.at must be a time that exists: clocks in "
		twice     = "actions[0].payload.at happens twice, since clocks in "
	)
	tests := map[string]struct {
		zone  string
		give  string
		want  string // empty: the action is dropped
		fault string
		note  string
	}{
		"no zone, in winter":                       {zone: berlin, give: "2026-11-30T14:30:00", want: "2026-11-30T14:30:00+01:00"},
		"no zone, in summer":                       {zone: berlin, give: "2026-07-01T14:30:00", want: "2026-07-01T14:30:00+02:00"},
		"no zone, behind UTC":                      {zone: newYork, give: "2026-07-01T14:30:00", want: "2026-07-01T14:30:00-04:00"},
		"no zone, half an hour off":                {zone: "Asia/Kolkata", give: "2026-07-01T14:30:00", want: "2026-07-01T14:30:00+05:30"},
		"no zone, and the account has none either": {zone: "UTC", give: "2026-07-01T14:30:00", want: "2026-07-01T14:30:00Z"},
		"no seconds":                               {zone: berlin, give: "2026-11-30T14:30", want: "2026-11-30T14:30:00+01:00"},
		"a space":                                  {zone: berlin, give: "2026-11-30 14:30:00", want: "2026-11-30T14:30:00+01:00"},
		"a space, no seconds":                      {zone: berlin, give: "2026-11-30 14:30", want: "2026-11-30T14:30:00+01:00"},
		"parts of a second":                        {zone: berlin, give: "2026-11-30T14:30:00.25", want: "2026-11-30T14:30:00.25+01:00"},
		"midnight":                                 {zone: berlin, give: "2026-11-30T00:00", want: "2026-11-30T00:00:00+01:00"},
		"a leap day":                               {zone: berlin, give: "2028-02-29T12:00", want: "2028-02-29T12:00:00+01:00"},
		"a zone of its own is left alone":          {zone: berlin, give: "2026-11-30T14:30:00-07:00", want: "2026-11-30T14:30:00-07:00"},
		"a zone of its own, without seconds":       {zone: berlin, give: "2026-11-30T14:30-07:00", want: "2026-11-30T14:30:00-07:00"},
		"UTC without seconds":                      {zone: berlin, give: "2026-11-30T14:30Z", want: "2026-11-30T14:30:00Z"},
		"UTC is left alone":                        {zone: berlin, give: "2026-11-30T14:30:00Z", want: "2026-11-30T14:30:00Z"},

		"a time that clocks are put forward past":        {zone: berlin, give: "2026-03-29T02:30", fault: gap + berlin + " are put forward past this one"},
		"the first of those":                             {zone: berlin, give: "2026-03-29T02:00", fault: gap + berlin + " are put forward past this one"},
		"the last minute before":                         {zone: berlin, give: "2026-03-29T01:59", want: "2026-03-29T01:59:00+01:00"},
		"the first minute after":                         {zone: berlin, give: "2026-03-29T03:00", want: "2026-03-29T03:00:00+02:00"},
		"in America it is another day":                   {zone: newYork, give: "2026-03-08T02:30", fault: gap + newYork + " are put forward past this one"},
		"a gap of a whole day":                           {zone: "Pacific/Apia", give: "2011-12-30T12:00", fault: gap + "Pacific/Apia are put forward past this one"},
		"the day before that":                            {zone: "Pacific/Apia", give: "2011-12-29T23:59", want: "2011-12-29T23:59:00-10:00"},
		"the day after that":                             {zone: "Pacific/Apia", give: "2011-12-31T00:00", want: "2011-12-31T00:00:00+14:00"},
		"a zone whose gap names its time is left alone":  {zone: berlin, give: "2026-03-29T02:30:00+01:00", want: "2026-03-29T02:30:00+01:00"},
		"a time that clocks are put back to before":      {zone: berlin, give: "2026-10-25T02:30", want: "2026-10-25T02:30:00+02:00", note: twice + berlin + " are put back: the earlier one was taken"},
		"the first of those that happen twice":           {zone: berlin, give: "2026-10-25T02:00", want: "2026-10-25T02:00:00+02:00", note: twice + berlin + " are put back: the earlier one was taken"},
		"the last minute that happens once":              {zone: berlin, give: "2026-10-25T01:59", want: "2026-10-25T01:59:00+02:00"},
		"the first minute that happens once again":       {zone: berlin, give: "2026-10-25T03:00", want: "2026-10-25T03:00:00+01:00"},
		"in America it happens twice a week later":       {zone: newYork, give: "2026-11-01T01:15", want: "2026-11-01T01:15:00-04:00", note: twice + newYork + " are put back: the earlier one was taken"},
		"who means the later one says so":                {zone: berlin, give: "2026-10-25T02:30:00+01:00", want: "2026-10-25T02:30:00+01:00"},
		"half an hour happens twice on Lord Howe Island": {zone: "Australia/Lord_Howe", give: "2026-04-05T01:45", want: "2026-04-05T01:45:00+11:00", note: twice + "Australia/Lord_Howe are put back: the earlier one was taken"},

		"a day that never was":     {zone: berlin, give: "2026-02-30T14:30", fault: malformed},
		"an hour that never is":    {zone: berlin, give: "2026-11-30T24:00", fault: malformed},
		"a minute that never is":   {zone: berlin, give: "2026-11-30T14:60", fault: malformed},
		"a leap second":            {zone: berlin, give: "2026-11-30T23:59:60", fault: malformed},
		"a date alone":             {zone: berlin, give: "2026-11-30", fault: malformed},
		"a time alone":             {zone: berlin, give: "14:30", fault: malformed},
		"a zone's short name":      {zone: berlin, give: "2026-11-30 14:30 CET", fault: malformed},
		"a zone's name":            {zone: berlin, give: "2026-11-30T14:30:00 Europe/Berlin", fault: malformed},
		"the day first":            {zone: berlin, give: "30.11.2026 14:30", fault: malformed},
		"the month first":          {zone: berlin, give: "11/30/2026 2:30 PM", fault: malformed},
		"words":                    {zone: berlin, give: "tomorrow at noon", fault: malformed},
		"seconds since 1970":       {zone: berlin, give: "1790000000", fault: malformed},
		"a week":                   {zone: berlin, give: "2026-W49-1T14:30", fault: malformed},
		"a year of two digits":     {zone: berlin, give: "26-11-30T14:30", fault: malformed},
		"two spaces":               {zone: berlin, give: "2026-11-30  14:30", fault: malformed},
		"something before it":      {zone: berlin, give: "on 2026-11-30T14:30", fault: malformed},
		"a line's end":             {zone: berlin, give: "2026-11-30T14:30\n", fault: malformed},
		"digits of another script": {zone: berlin, give: "２０２６-11-30T14:30", fault: malformed},
		"nothing":                  {zone: berlin, give: "", fault: malformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := New(hotel(), location(t, tt.zone))
			if err != nil {
				t.Fatal(err)
			}
			v := c.Check(with(`{"room":"12","at":"` + strings.ReplaceAll(tt.give, "\n", `\n`) + `"}`))
			got, faults, notes := "", strings.Join(v.Faults, "\n"), strings.Join(v.Notes, "\n")
			if len(v.Output.Actions) > 0 {
				got, _ = v.Output.Actions[0].Payload["at"].(string)
			}
			if got != tt.want || faults != tt.fault || len(v.Fatal) > 0 {
				t.Errorf("got %q, faults %q; want %q and %q", got, faults, tt.want, tt.fault)
			}
			if tt.fault == "" && notes != tt.note {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if got != "" {
				if _, err := time.Parse(time.RFC3339, got); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestEveryFifthMinuteOfAYear compares what is resolved with Go's own clock: each
// minute that there is comes back as itself, or is the later of two.
func TestEveryFifthMinuteOfAYear(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Africa/Casablanca", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Chatham"} {
		loc := location(t, zone)
		gaps := 0
		end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		for clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); clock.Before(end); clock = clock.Add(5 * time.Minute) {
			times := at(clock, loc)
			if len(times) == 0 {
				gaps++
			}
			for i, tt := range times {
				if i > 0 && !tt.After(times[i-1]) || tt.Format("2006-01-02T15:04") != clock.Format("2006-01-02T15:04") {
					t.Fatalf("%s: clocks that show %v are said to do so at %v", zone, clock, tt)
				}
			}
			if i, ok := shows(clock, loc); ok != (len(times) > 0) || ok && !containsTime(times, i) {
				t.Fatalf("%s: %v: got %v, Go says %v, %v", zone, clock, times, i, ok)
			}
		}
		if want := map[string]int{"Australia/Lord_Howe": 6, "Asia/Kathmandu": 0}; gaps != 12 && gaps != want[zone] {
			t.Errorf("%s: %d minutes do not exist", zone, 5*gaps)
		}
	}
}

// shows asks Go's time package for a time at which clocks show clock.
func shows(clock time.Time, loc *time.Location) (time.Time, bool) {
	t := time.Date(clock.Year(), clock.Month(), clock.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, loc)
	return t, t.Hour() == clock.Hour() && t.Minute() == clock.Minute()
}

func containsTime(list []time.Time, t time.Time) bool {
	for _, x := range list {
		if x.Equal(t) {
			return true
		}
	}
	return false
}

func TestOtherFieldsHaveNoZone(t *testing.T) {
	c, err := New(hotel(), location(t, "Europe/Berlin"))
	if err != nil {
		t.Fatal(err)
	}
	v := c.Check(with(`{"room":"2026-11-30T14:30","day":"2026-11-30","hour":"14:30"}`))
	want := map[string]any{"room": "2026-11-30T14:30", "day": "2026-11-30", "hour": "14:30:00"}
	if len(v.Output.Actions) != 1 {
		t.Fatalf("faults %q", v.Faults)
	}
	if diff := cmp.Diff(want, v.Output.Actions[0].Payload); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	ag := hotel()
	ag.PayloadSchema = []gateway.Field{{Name: "at", Type: gateway.FieldDateTime, Required: true}}
	if c, err = New(ag, location(t, "Europe/Berlin")); err != nil {
		t.Fatal(err)
	}
	if v := c.Check(with(`{"at":"2026-03-29T02:30"}`)); len(v.Faults) != 1 || len(v.Output.Actions) != 0 {
		t.Errorf("faults %q", v.Faults)
	}
}
