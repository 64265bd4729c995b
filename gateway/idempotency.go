package gateway

import "time"

// An IdempotentRequest is a request that its client may repeat, and what became
// of it.
type IdempotentRequest struct {
	Who     string // the name of the API key
	Key     string // of the client's: one word for the request and its repetitions
	Request string // SHA-256 of method, path and body, in hex
	// ID is the same whenever this request is done, however often its doing was
	// cut short: what it makes can be named by it, so that a repetition finds it.
	ID         string
	Generation int64  // of the claim: raised whenever somebody begins to do it
	Status     int    // of the answer; 0: it is being done
	Body       Secret // of the answer: it may hold what is shown once
	Until      time.Time
}
