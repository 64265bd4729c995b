package wire

import (
	"encoding/json"
	"testing"
	"time"
)

func TestUnstorable(t *testing.T) {
	tests := map[string]struct {
		json string
		want bool
	}{
		"plain text":                              {`"abc"`, false},
		"a zero character":                        {`"a\u0000"`, true},
		"an escaped backslash before u0000":       {`"a\\u0000"`, false},
		"an escaped backslash and a zero":         {`"a\\\u0000"`, true},
		"a surrogate pair":                        {`"\ud83d\ude00"`, false},
		"a surrogate pair in upper case":          {`"\uD83D\uDE00"`, false},
		"a high surrogate at the end":             {`"\ud83d"`, true},
		"a high surrogate before text":            {`"\ud83dabcdef"`, true},
		"a high surrogate before another escape":  {`"\ud83d\n"`, true},
		"a high surrogate before a harmless unit": {`"\ud83d\u0041"`, true},
		"a low surrogate first":                   {`"\ude00\ud83d"`, true},
		"two pairs":                               {`"\ud83d\ude00\ud83d\ude00"`, false},
		"a pair and a low surrogate":              {`"\ud83d\ude00\ude00"`, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if !json.Valid([]byte(tt.json)) {
				t.Fatal("the sample is not JSON")
			}
			if got := unstorable([]byte(tt.json)); got != tt.want {
				t.Errorf("unstorable(%s) = %v", tt.json, got)
			}
		})
	}
}

func TestStampIsWholeSecondsInUTC(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 999_999_999, time.FixedZone("", 2*60*60))
	if got := *Stamp(at); got != "2026-03-04T03:06:07Z" {
		t.Error(got)
	}
	if Stamp(time.Time{}) != nil {
		t.Error("the zero time is not null")
	}
}

func TestPhoneNumber(t *testing.T) {
	for s, want := range map[string]string{
		"+33612345678": "+33612345678", "33612345678": "+33612345678", " 33612345678": "+33612345678", "+1 415": "", "": "", "+": "",
		"++33612345678": "", "+0612345678": "", "+336123": "", "+1234567890123456": "", "+33 612345678": "", "+33612345678a": "",
	} {
		if got, ok := PhoneNumber(s); got != want || ok != (want != "") {
			t.Errorf("PhoneNumber(%q) = %q, %v", s, got, ok)
		}
	}
}
