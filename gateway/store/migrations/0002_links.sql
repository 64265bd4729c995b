-- Accounts that are linked devices: how they behave, who holds them, how they
-- stand, and how they are paired.

ALTER TABLE accounts ADD COLUMN linked TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN allow_from TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN takeover_ms BIGINT NOT NULL DEFAULT 1800000;

ALTER TABLE conversations ADD COLUMN last_send_at BIGINT NOT NULL DEFAULT 0;

CREATE INDEX sends_account ON sends (account, seq) WHERE state = 'ready';

CREATE TABLE links (
    account        TEXT PRIMARY KEY REFERENCES accounts (id),
    device         TEXT NOT NULL, -- empty: not paired
    phone          TEXT NOT NULL,
    lid            TEXT NOT NULL,
    state          TEXT NOT NULL,
    reason         TEXT NOT NULL,
    retry_at       BIGINT NOT NULL,
    no_first_until BIGINT NOT NULL,
    connected_at   BIGINT NOT NULL,
    last_frame_at  BIGINT NOT NULL,
    logging_out    BOOLEAN NOT NULL,
    holder         TEXT NOT NULL,
    fence          BIGINT NOT NULL,
    lease_until    BIGINT NOT NULL,
    next_send_at   BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL
);
CREATE INDEX links_holder ON links (holder) WHERE holder <> '';

CREATE TABLE pairings (
    id         SERIAL_KEY,
    account    TEXT NOT NULL REFERENCES accounts (id),
    method     TEXT NOT NULL,
    phone      TEXT NOT NULL,
    step       TEXT NOT NULL,
    qr         TEXT NOT NULL, -- sealed, like the next three: they link a device while they live
    code       TEXT NOT NULL,
    options    TEXT NOT NULL,
    answer     TEXT NOT NULL,
    confirmed  BOOLEAN NOT NULL,
    error      TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX pairings_account ON pairings (account, id);
CREATE UNIQUE INDEX pairings_open ON pairings (account) WHERE step NOT IN ('done', 'failed', 'expired');
