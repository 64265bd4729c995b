package library

import (
	"runtime"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
)

// TestAClientIsLean fails when the library calls differently what lean empties,
// or does not make that room any more: then lean can go.
func TestAClientIsLean(t *testing.T) {
	weigh := func(change func(*whatsmeow.Client)) int {
		clients := make([]*whatsmeow.Client, 100)
		before := heap()
		for i := range clients {
			clients[i] = whatsmeow.NewClient(&store.Device{}, nil)
			change(clients[i])
		}
		grown := heap() - before
		runtime.KeepAlive(clients)
		return int(grown) / len(clients)
	}
	full := weigh(func(*whatsmeow.Client) {})
	less := weigh(func(cli *whatsmeow.Client) {
		if !lean(cli) {
			t.Fatal("the library's client has no such room")
		}
	})
	if saved := full - less; saved < 30<<10 {
		t.Errorf("%d bytes less for each client, want 30 KB", saved)
	}
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
