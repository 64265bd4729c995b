-- Edits and deletions of messages, and the files that come with messages.

ALTER TABLE messages ADD COLUMN change TEXT NOT NULL DEFAULT ''; -- what it does to the message target
ALTER TABLE messages ADD COLUMN target TEXT NOT NULL DEFAULT ''; -- an external_id
ALTER TABLE messages ADD COLUMN revoked_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX messages_target ON messages (conversation, target) WHERE target <> '';
CREATE INDEX messages_polls ON messages (account, external_id) WHERE detail LIKE '%"options":[%';

CREATE TABLE media (
    message    TEXT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    account    TEXT NOT NULL REFERENCES accounts (id),
    state      TEXT NOT NULL,
    mime_type  TEXT NOT NULL,
    name       TEXT NOT NULL,
    size       BIGINT NOT NULL,
    source     TEXT NOT NULL, -- sealed: it holds the file's key
    attempt    BIGINT NOT NULL,
    next_at    BIGINT NOT NULL, -- of one that is being fetched: when its lease ends
    error      TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX media_due ON media (account, next_at) WHERE state IN ('wanted', 'asked');
CREATE INDEX media_expiry ON media (expires_at) WHERE state = 'kept';

-- Apart from the rest, so that nothing but a reader of the bytes reads them.
-- SQLite takes any name of a type, and keeps bytes as they are.
CREATE TABLE media_data (
    message TEXT PRIMARY KEY REFERENCES media (message) ON DELETE CASCADE,
    data    BYTEA NOT NULL
);
