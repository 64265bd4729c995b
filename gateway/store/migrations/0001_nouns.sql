-- Every noun of package gateway. Times are milliseconds since 1970 UTC, 0 for
-- the zero time; lists and objects are JSON; an empty string means none.
-- SERIAL_KEY is written as each database wants it (dialect.go).

CREATE TABLE accounts (
    id              TEXT PRIMARY KEY,
    kind            TEXT NOT NULL,
    name            TEXT NOT NULL,
    phone_number    TEXT NOT NULL,
    phone_number_id TEXT NOT NULL,
    waba_id         TEXT NOT NULL,
    access_token    TEXT NOT NULL, -- sealed
    app_secret      TEXT NOT NULL, -- sealed
    verify_token    TEXT NOT NULL, -- sealed
    graph_url       TEXT NOT NULL,
    declared        BOOLEAN NOT NULL,
    active          BOOLEAN NOT NULL, -- false once it vanished from the configuration file
    created_at      BIGINT NOT NULL
);

CREATE TABLE contacts (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES accounts (id),
    phone      TEXT NOT NULL,
    lid        TEXT NOT NULL,
    group_id   TEXT NOT NULL,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE contact_aliases (
    account TEXT NOT NULL REFERENCES accounts (id),
    alias   TEXT NOT NULL,
    contact TEXT NOT NULL REFERENCES contacts (id),
    PRIMARY KEY (account, alias)
);
CREATE INDEX contact_aliases_contact ON contact_aliases (contact);

CREATE TABLE conversations (
    id              TEXT PRIMARY KEY,
    account         TEXT NOT NULL REFERENCES accounts (id),
    contact         TEXT NOT NULL REFERENCES contacts (id),
    last_inbound_at BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    UNIQUE (account, contact)
);
CREATE INDEX conversations_contact ON conversations (contact);

CREATE TABLE messages (
    seq          SERIAL_KEY,
    id           TEXT NOT NULL UNIQUE,
    account      TEXT NOT NULL,
    conversation TEXT NOT NULL REFERENCES conversations (id),
    contact      TEXT NOT NULL, -- who wrote it; empty for ours
    direction    TEXT NOT NULL,
    origin       TEXT NOT NULL,
    external_id  TEXT NOT NULL,
    part         BIGINT NOT NULL,
    type         TEXT NOT NULL,
    body         TEXT NOT NULL,
    detail       TEXT NOT NULL,
    reply_to     TEXT NOT NULL,
    sent_at      BIGINT NOT NULL,
    received_at  BIGINT NOT NULL,
    state        TEXT NOT NULL,
    state_reason TEXT NOT NULL,
    status       TEXT NOT NULL,
    run          TEXT NOT NULL
);
CREATE UNIQUE INDEX messages_external ON messages (account, conversation, contact, external_id, part) WHERE external_id <> '';
CREATE INDEX messages_status ON messages (account, external_id) WHERE direction = 'out' AND external_id <> '';
CREATE INDEX messages_account ON messages (account, seq);
CREATE INDEX messages_conversation ON messages (conversation, seq);
CREATE INDEX messages_contact ON messages (contact) WHERE contact <> '';
CREATE INDEX messages_received ON messages (conversation, received_at) WHERE direction = 'in';
CREATE INDEX messages_waiting ON messages (conversation, seq) WHERE state = 'waiting';
CREATE INDEX messages_stranded ON messages (seq) WHERE state = 'waiting';
CREATE INDEX messages_run ON messages (run) WHERE run <> '';

CREATE TABLE agents (
    seq                     SERIAL_KEY,
    id                      TEXT NOT NULL UNIQUE,
    config_key              TEXT NOT NULL, -- its id in the configuration file; empty if made over the API
    account                 TEXT NOT NULL,
    name                    TEXT NOT NULL,
    description             TEXT NOT NULL,
    system_prompt           TEXT NOT NULL,
    model                   TEXT NOT NULL,
    temperature             DOUBLE PRECISION NOT NULL,
    max_tokens              BIGINT NOT NULL,
    active                  BOOLEAN NOT NULL,
    auto_run                BOOLEAN NOT NULL,
    quiet_ms                BIGINT NOT NULL,
    max_wait_ms             BIGINT NOT NULL,
    max_batch               BIGINT NOT NULL,
    context_ttl_ms          BIGINT NOT NULL,
    allowed_actions         TEXT NOT NULL,
    payload_schema          TEXT NOT NULL,
    confirm                 BOOLEAN NOT NULL,
    confirmation_timeout_ms BIGINT NOT NULL,
    inbound_filter          TEXT NOT NULL,
    fallback_reply          TEXT NOT NULL,
    created_at              BIGINT NOT NULL,
    updated_at              BIGINT NOT NULL,
    deleted_at              BIGINT NOT NULL
);
CREATE UNIQUE INDEX agents_config_key ON agents (config_key) WHERE config_key <> '';
CREATE INDEX agents_account ON agents (account, seq) WHERE deleted_at = 0;

CREATE TABLE runs (
    seq              SERIAL_KEY,
    id               TEXT NOT NULL UNIQUE,
    agent            TEXT NOT NULL,
    account          TEXT NOT NULL,
    conversation     TEXT NOT NULL, -- empty for a run made over the API
    conversation_key TEXT NOT NULL,
    context_key      TEXT NOT NULL, -- what is remembered under: the conversation, or key:<conversation_key>
    started_by       TEXT NOT NULL,
    status           TEXT NOT NULL,
    generation       BIGINT NOT NULL,
    attempt          BIGINT NOT NULL,
    lease_until      BIGINT NOT NULL,
    input            TEXT NOT NULL,
    metadata         TEXT NOT NULL,
    output           TEXT NOT NULL,
    stop_reason      TEXT NOT NULL,
    error            TEXT NOT NULL,
    notes            TEXT NOT NULL,
    model            TEXT NOT NULL,
    input_tokens     BIGINT NOT NULL,
    output_tokens    BIGINT NOT NULL,
    latency_ms       BIGINT NOT NULL,
    duration_ms      BIGINT NOT NULL,
    actions_decided  BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    started_at       BIGINT NOT NULL,
    completed_at     BIGINT NOT NULL
);
CREATE UNIQUE INDEX runs_unfinished ON runs (conversation) WHERE conversation <> '' AND status IN ('pending', 'running');
CREATE INDEX runs_due ON runs (lease_until) WHERE status IN ('pending', 'running');
CREATE INDEX runs_agent ON runs (agent, seq);
CREATE INDEX runs_conversation ON runs (conversation) WHERE conversation <> '';
CREATE INDEX runs_context ON runs (agent, context_key, completed_at) WHERE status = 'completed' AND context_key <> '';

CREATE TABLE actions (
    run        TEXT NOT NULL REFERENCES runs (id),
    position   BIGINT NOT NULL,
    type       TEXT NOT NULL,
    payload    TEXT NOT NULL,
    status     TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    decided_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (run, position)
);
CREATE INDEX actions_due ON actions (expires_at) WHERE status = 'pending';

CREATE TABLE sends (
    seq          SERIAL_KEY,
    id           TEXT NOT NULL UNIQUE, -- also that of its message
    account      TEXT NOT NULL REFERENCES accounts (id),
    conversation TEXT NOT NULL REFERENCES conversations (id),
    to_phone     TEXT NOT NULL,
    to_lid       TEXT NOT NULL,
    to_group     TEXT NOT NULL,
    origin       TEXT NOT NULL,
    origin_id    TEXT NOT NULL,
    part         BIGINT NOT NULL,
    body         TEXT NOT NULL,
    reply_to     TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempt      BIGINT NOT NULL,
    unknowns     BIGINT NOT NULL,
    next_at      BIGINT NOT NULL, -- of an unknown send: 0 leaves it to a person
    deadline     BIGINT NOT NULL,
    answers      BIGINT NOT NULL,
    external_id  TEXT NOT NULL,
    error        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    UNIQUE (origin, origin_id, part)
);
CREATE INDEX sends_conversation ON sends (conversation, seq);
CREATE INDEX sends_line ON sends (conversation, seq) WHERE state IN ('ready', 'claimed');
CREATE INDEX sends_ready ON sends (next_at) WHERE state = 'ready';
CREATE INDEX sends_claimed ON sends (deadline) WHERE state = 'claimed';
CREATE INDEX sends_unknown ON sends (next_at) WHERE state = 'unknown' AND next_at > 0;

CREATE TABLE webhooks (
    id         SERIAL_KEY,
    config_key TEXT NOT NULL,
    url        TEXT NOT NULL,
    secret     TEXT NOT NULL, -- sealed
    active     BOOLEAN NOT NULL,
    disabled   TEXT NOT NULL,
    events     TEXT NOT NULL,
    actions    TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX webhooks_config_key ON webhooks (config_key) WHERE config_key <> '';

CREATE TABLE deliveries (
    seq          SERIAL_KEY,
    id           TEXT NOT NULL UNIQUE,
    webhook      BIGINT NOT NULL REFERENCES webhooks (id),
    event        TEXT NOT NULL,
    run          TEXT NOT NULL,
    action_index BIGINT NOT NULL, -- -1 unless the event is about one action
    conversation TEXT NOT NULL,
    body         TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempt      BIGINT NOT NULL,
    next_at      BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    UNIQUE (webhook, event, run, action_index)
);
CREATE INDEX deliveries_due ON deliveries (webhook, next_at) WHERE state = 'pending';
CREATE INDEX deliveries_leased ON deliveries (webhook, lease_until) WHERE state = 'pending' AND lease_until > 0;
CREATE INDEX deliveries_dead ON deliveries (webhook) WHERE state = 'dead';
CREATE INDEX deliveries_run ON deliveries (run);
CREATE INDEX deliveries_conversation ON deliveries (conversation) WHERE conversation <> '';

CREATE TABLE attempts (
    delivery    TEXT NOT NULL REFERENCES deliveries (id),
    number      BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    latency_ms  BIGINT NOT NULL,
    status_code BIGINT NOT NULL,
    error       TEXT NOT NULL,
    answer      TEXT NOT NULL,
    PRIMARY KEY (delivery, number)
);

CREATE TABLE pauses (
    id           SERIAL_KEY,
    conversation TEXT NOT NULL REFERENCES conversations (id),
    reason       TEXT NOT NULL,
    expires_at   BIGINT NOT NULL,
    resumed_at   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL
);
CREATE INDEX pauses_active ON pauses (conversation, expires_at) WHERE resumed_at = 0;

CREATE TABLE api_keys (
    name     TEXT PRIMARY KEY,
    hash     TEXT NOT NULL UNIQUE, -- SHA-256, in hex
    declared BOOLEAN NOT NULL
);

-- A known text, sealed: tells at the start whether secret_key is the right one.
CREATE TABLE seal_check (
    id     BIGINT PRIMARY KEY,
    sealed TEXT NOT NULL
);
