package wire

import (
	"encoding/json"
	"testing"
)

func TestAListOfJSONLooksLikeAnyOther(t *testing.T) {
	for name, data := range map[string][]json.RawMessage{
		"none": {}, "one": {json.RawMessage(`{"a":"<&>"}`)}, "three": {json.RawMessage(`1`), json.RawMessage(`null`), json.RawMessage(`"x"`)},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := encode(listBody{Data: data, Meta: listMeta{Total: 12}})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(appendList(nil, data, 12)); got != string(want) {
				t.Errorf("it is %s, want %s", got, want)
			}
		})
	}
}
