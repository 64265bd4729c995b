package library

import (
	"reflect"

	"go.mau.fi/whatsmeow"
)

// lean takes from a new client the room that the library makes for the last 256
// messages that it will send: 39 KB, more than a third of what an idle account
// needs. The map grows as it is used. There is no other way to it than by its
// name; lean reports whether it was there, and changes nothing else.
func lean(cli *whatsmeow.Client) bool {
	room := reflect.ValueOf(cli).Elem().FieldByName("recentMessagesMap")
	if room.Kind() != reflect.Map || room.Len() > 0 {
		return false
	}
	reflect.NewAt(room.Type(), room.Addr().UnsafePointer()).Elem().Set(reflect.MakeMap(room.Type()))
	return true
}
