-- What an endpoint answered to an action that was delivered to it: JSON; '': nothing.
ALTER TABLE actions ADD COLUMN result TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN answered_by BIGINT NOT NULL DEFAULT 0; -- the webhook whose answer it is; 0: none's
ALTER TABLE actions ADD COLUMN answered_at BIGINT NOT NULL DEFAULT 0;

-- A webhook's deliveries are listed newest first, and its dead letters replayed in their order.
CREATE INDEX deliveries_listed ON deliveries (webhook, created_at, seq);
DROP INDEX deliveries_dead;
CREATE INDEX deliveries_dead ON deliveries (webhook, created_at, seq) WHERE state = 'dead';
