-- What a webhook takes, and how it is delivered to.
ALTER TABLE webhooks ADD COLUMN agents TEXT NOT NULL DEFAULT ''; -- JSON; '': all
ALTER TABLE webhooks ADD COLUMN accounts TEXT NOT NULL DEFAULT ''; -- JSON; '': all
ALTER TABLE webhooks ADD COLUMN headers TEXT NOT NULL DEFAULT ''; -- JSON, sealed
ALTER TABLE webhooks ADD COLUMN ordered BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE webhooks ADD COLUMN concurrency BIGINT NOT NULL DEFAULT 0; -- attempts at once; 0: the default
ALTER TABLE webhooks ADD COLUMN per_minute BIGINT NOT NULL DEFAULT 0; -- attempts; 0: any number
ALTER TABLE webhooks ADD COLUMN paused BOOLEAN NOT NULL DEFAULT FALSE;

-- How it fares: since when attempts only fail, and until when none is made.
ALTER TABLE webhooks ADD COLUMN failing_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE webhooks ADD COLUMN rests_until BIGINT NOT NULL DEFAULT 0;

-- Webhooks are shared out among processes by lanes: what is to be delivered to a
-- webhook is in the hands of one process, and needs no lease of its own.
CREATE TABLE lanes (
    id    BIGINT PRIMARY KEY, -- a webhook's number modulo how many there are
    owner TEXT NOT NULL,
    until BIGINT NOT NULL
);
INSERT INTO lanes (id, owner, until) VALUES
    (0, '', 0), (1, '', 0), (2, '', 0), (3, '', 0), (4, '', 0), (5, '', 0), (6, '', 0), (7, '', 0),
    (8, '', 0), (9, '', 0), (10, '', 0), (11, '', 0), (12, '', 0), (13, '', 0), (14, '', 0), (15, '', 0);
CREATE TABLE lane_owners (
    owner TEXT PRIMARY KEY,
    until BIGINT NOT NULL
);

DROP INDEX deliveries_leased;
ALTER TABLE deliveries DROP COLUMN lease_until;
ALTER TABLE deliveries ADD COLUMN replayed BIGINT NOT NULL DEFAULT 0; -- how many attempts there were when it was replayed last

-- What is due to a webhook is found without sorting, and what comes first in a conversation.
DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (webhook, next_at, seq) WHERE state = 'pending';
CREATE INDEX deliveries_order ON deliveries (webhook, conversation, seq) WHERE state = 'pending' AND conversation <> '';

-- How long an attempt was in each phase, and what else came with the answer: JSON.
ALTER TABLE attempts ADD COLUMN phases TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN headers TEXT NOT NULL DEFAULT '';
