-- Who may use the API, and what was changed through it.

ALTER TABLE api_keys ADD COLUMN id TEXT NOT NULL DEFAULT ''; -- '' if it stands in the configuration file
ALTER TABLE api_keys ADD COLUMN scope TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE api_keys ADD COLUMN test BOOLEAN NOT NULL DEFAULT FALSE; -- it reaches sandbox accounts only
ALTER TABLE api_keys ADD COLUMN accounts TEXT NOT NULL DEFAULT ''; -- JSON; '': all
ALTER TABLE api_keys ADD COLUMN per_minute BIGINT NOT NULL DEFAULT 0; -- requests; 0: the default
ALTER TABLE api_keys ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN revoked_at BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX api_keys_id ON api_keys (id) WHERE id <> '';

CREATE TABLE audit (
    seq     SERIAL_KEY,
    at      BIGINT NOT NULL,
    who     TEXT NOT NULL, -- the key's name
    action  TEXT NOT NULL, -- method and route
    subject TEXT NOT NULL, -- the path
    status  BIGINT NOT NULL, -- of the answer
    request TEXT NOT NULL -- its id, as in the log
);
CREATE INDEX audit_at ON audit (at);

-- What was answered to a request with an Idempotency-Key.
CREATE TABLE idempotency (
    who        TEXT NOT NULL, -- the key's name
    key        TEXT NOT NULL,
    request    TEXT NOT NULL, -- SHA-256 of method, path and body, in hex
    id         TEXT NOT NULL, -- the same for each try at one request
    generation BIGINT NOT NULL, -- of the claim
    status     BIGINT NOT NULL, -- 0: it is being worked on
    body       TEXT NOT NULL, -- sealed
    until      BIGINT NOT NULL, -- the end of the claim of who works on it, or else of what is remembered
    created_at BIGINT NOT NULL,
    PRIMARY KEY (who, key)
);
CREATE INDEX idempotency_until ON idempotency (until);

-- The request that decided an action, as idempotency has its id.
ALTER TABLE actions ADD COLUMN request TEXT NOT NULL DEFAULT '';

-- Whether a run's actions had to be confirmed, which a run without any tells, too.
ALTER TABLE runs ADD COLUMN confirm BOOLEAN NOT NULL DEFAULT FALSE;

-- Messages of ours that are no text, and what became of them.
ALTER TABLE sends ADD COLUMN type TEXT NOT NULL DEFAULT 'text';
ALTER TABLE sends ADD COLUMN content TEXT NOT NULL DEFAULT ''; -- JSON: what is no text
ALTER TABLE accounts ADD COLUMN business TEXT NOT NULL DEFAULT ''; -- whose number it is
ALTER TABLE messages ADD COLUMN accepted_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN delivered_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN read_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN failure TEXT NOT NULL DEFAULT ''; -- why it failed

-- Leave to add an account, once, without an API key.
CREATE TABLE connects (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL, -- '' until it is completed
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Message templates, as Meta had them when they were last read.
CREATE TABLE templates (
    id          TEXT PRIMARY KEY,
    account     TEXT NOT NULL REFERENCES accounts (id),
    external_id TEXT NOT NULL,
    name        TEXT NOT NULL,
    language    TEXT NOT NULL,
    category    TEXT NOT NULL,
    status      TEXT NOT NULL,
    components  TEXT NOT NULL, -- JSON; '': not known
    reason      TEXT NOT NULL, -- why it was rejected
    told_at     BIGINT NOT NULL, -- of the last status that Meta told by itself, by its clock; 0: none
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    synced_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX templates_name ON templates (account, name, language);

-- Templates that were deleted: what Meta told of them before comes late, or again.
CREATE TABLE template_tombstones (
    account     TEXT NOT NULL REFERENCES accounts (id),
    external_id TEXT NOT NULL, -- '': not known
    name        TEXT NOT NULL,
    language    TEXT NOT NULL,
    deleted_at  BIGINT NOT NULL,
    PRIMARY KEY (account, external_id, name, language)
);

-- Webhooks that are made over the API: a row of one that was deleted stays for its deliveries.
ALTER TABLE webhooks ADD COLUMN previous_secret TEXT NOT NULL DEFAULT ''; -- sealed
ALTER TABLE webhooks ADD COLUMN previous_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE webhooks ADD COLUMN secret_request TEXT NOT NULL DEFAULT ''; -- the id of the request that gave it its secret
ALTER TABLE webhooks ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE webhooks ADD COLUMN deleted_at BIGINT NOT NULL DEFAULT 0;

-- What was used in a period is found without reading what was before it.
CREATE INDEX messages_usage ON messages (received_at, account, direction, origin);

-- Webhooks are told once that a pause is over; not of those that were over before they could be.
ALTER TABLE pauses ADD COLUMN over_told BOOLEAN NOT NULL DEFAULT TRUE;
UPDATE pauses SET over_told = FALSE WHERE resumed_at = 0 AND expires_at > NOW_MS;
CREATE INDEX pauses_untold ON pauses (expires_at) WHERE NOT over_told;

-- The state of a linked device that webhooks were told of last.
ALTER TABLE links ADD COLUMN told TEXT NOT NULL DEFAULT '';

-- Deliveries that ended are found by their age.
CREATE INDEX deliveries_over ON deliveries (next_at) WHERE state <> 'pending';
