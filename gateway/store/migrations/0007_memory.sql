-- What agents know of a conversation's older turns and of contacts.

CREATE TABLE context_summaries (
    agent        TEXT NOT NULL,
    conversation TEXT NOT NULL REFERENCES conversations (id),
    covers       BIGINT NOT NULL, -- messages up to this seq
    body         TEXT NOT NULL,
    expires_at   BIGINT NOT NULL,
    PRIMARY KEY (conversation, agent)
);
CREATE INDEX context_summaries_expiry ON context_summaries (expires_at);

CREATE TABLE contact_memories (
    agent      TEXT NOT NULL,
    contact    TEXT NOT NULL REFERENCES contacts (id),
    body       TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (contact, agent)
);

-- People look for a contact by the number alone, and at the newest ones.
CREATE INDEX contact_aliases_alias ON contact_aliases (alias);
CREATE INDEX contacts_newest ON contacts (created_at);
