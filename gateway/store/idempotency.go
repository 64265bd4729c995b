package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strings"
	"time"

	"wagent/gateway"
)

// rememberAnswers is how long an answer is given to who repeats its request,
// and a request that never had one keeps its id.
const rememberAnswers = 24 * time.Hour

// ClaimRequest begins a request: by Who, under Key. It reports true, and fills r,
// if it is the caller's to do until r.Until, a lease from now: it was never done,
// or whoever began it gave it up or let the lease pass. Else it fills r with what
// is on record under that key, which may be another request.
func (s *Store) ClaimRequest(ctx context.Context, r *gateway.IdempotentRequest, lease time.Duration) (claimed bool, err error) {
	const tries = 3 // what is in the way may be gone when we look
	for range tries {
		claimed, err = s.claimRequest(ctx, r, lease)
		if !errors.Is(err, sql.ErrNoRows) {
			break
		}
	}
	return claimed, s.fail(err, "claim request of key %s", r.Who)
}

func (s *Store) claimRequest(ctx context.Context, r *gateway.IdempotentRequest, lease time.Duration) (bool, error) {
	at, id := now(), strings.ToLower(rand.Text())
	// Who takes over what was begun does the same request: it has the same id.
	took, err := list(ctx, s.q, s.scanRequest, `INSERT INTO idempotency (who, key, request, id, generation, status, body, until, created_at)
		VALUES ($1, $2, $3, $4, 1, 0, '', $5, $6)
		ON CONFLICT (who, key) DO UPDATE SET request = excluded.request, generation = idempotency.generation + 1, status = 0, body = '',
			until = excluded.until,
			id = CASE WHEN `+sameTry+` THEN idempotency.id ELSE excluded.id END,
			created_at = CASE WHEN `+sameTry+` THEN idempotency.created_at ELSE excluded.created_at END
		WHERE idempotency.until <= $6 AND (idempotency.status <> 0 OR idempotency.until = 0 OR idempotency.created_at <= $7
			OR idempotency.request = excluded.request)
		RETURNING `+requestColumns, r.Who, r.Key, r.Request, id, at.Add(lease), at, at.Add(-rememberAnswers))
	if err != nil {
		return false, err
	}
	if len(took) == 1 {
		*r = took[0]
		return true, nil
	}
	known, err := one(ctx, s.q, s.scanRequest, `SELECT `+requestColumns+` FROM idempotency WHERE who = $1 AND key = $2`, r.Who, r.Key)
	if err == nil {
		*r = known
	}
	return false, err
}

// releaseRequests lets every claim pass that is held: who held it may have done
// its request, so that it is not one that was given up, whose until is 0.
const releaseRequests = `UPDATE idempotency SET until = 1 WHERE status = 0 AND until > 1`

// sameTry is true of a request that was begun and has no answer yet.
const sameTry = `idempotency.status = 0 AND idempotency.request = excluded.request`

// AnswerRequest keeps r's Status and Body for 24 hours. Conflict: somebody else
// has claimed the request.
func (s *Store) AnswerRequest(ctx context.Context, r *gateway.IdempotentRequest) error {
	r.Until = now().Add(rememberAnswers)
	n, err := s.q.exec(ctx, `UPDATE idempotency SET status = $4, body = $5, until = $6
		WHERE who = $1 AND key = $2 AND generation = $3 AND status = 0`,
		r.Who, r.Key, r.Generation, r.Status, s.key.seal(r.Body, "idempotency", requestPlace(r), "body"), r.Until)
	if err == nil && n == 0 {
		err = &gateway.Error{Kind: gateway.Conflict, Msg: "The request was claimed by somebody else"}
	}
	return s.fail(err, "keep the answer to a request of key %s", r.Who)
}

// ReleaseRequest gives up a claim: the next who repeats the request does it. It
// does nothing if somebody else has claimed it.
func (s *Store) ReleaseRequest(ctx context.Context, r *gateway.IdempotentRequest) error {
	_, err := s.q.exec(ctx, `UPDATE idempotency SET until = 0 WHERE who = $1 AND key = $2 AND generation = $3 AND status = 0`,
		r.Who, r.Key, r.Generation)
	return s.fail(err, "release request of key %s", r.Who)
}

// ForgetRequests removes answers that are remembered no longer, and requests
// that were given up as long ago.
func (s *Store) ForgetRequests(ctx context.Context) error {
	at := now()
	_, err := s.q.exec(ctx, `DELETE FROM idempotency WHERE until <= $1 AND (status <> 0 OR created_at <= $2)`, at, at.Add(-rememberAnswers))
	return s.fail(err, "forget answered requests")
}

const requestColumns = `who, key, request, id, generation, status, body, until`

func (s *Store) scanRequest(r row) (gateway.IdempotentRequest, error) {
	var x gateway.IdempotentRequest
	var sealed string
	err := r.Scan(&x.Who, &x.Key, &x.Request, &x.ID, &x.Generation, &x.Status, &sealed, at(&x.Until))
	if err == nil {
		x.Body, err = s.key.open(sealed, "idempotency", requestPlace(&x), "body")
	}
	return x, err
}

// requestPlace names a request's row; neither part holds a control character.
func requestPlace(r *gateway.IdempotentRequest) string { return r.Who + "\x00" + r.Key }
