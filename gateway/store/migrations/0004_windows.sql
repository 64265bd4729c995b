-- What a newer message does to the run that answers those before it, and what a
-- conversation has otherwise than its agent.

ALTER TABLE agents ADD COLUMN on_new_message TEXT NOT NULL DEFAULT 'follow_up';
ALTER TABLE agents ADD COLUMN max_supersedes BIGINT NOT NULL DEFAULT 3;

ALTER TABLE runs ADD COLUMN supersedes BIGINT NOT NULL DEFAULT 0;

-- NULL is what the agent has.
CREATE TABLE conversation_windows (
    conversation   TEXT PRIMARY KEY REFERENCES conversations (id),
    quiet_ms       BIGINT,
    max_wait_ms    BIGINT,
    max_batch      BIGINT,
    on_new_message TEXT,
    max_supersedes BIGINT,
    updated_at     BIGINT NOT NULL
);
