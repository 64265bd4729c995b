-- Up to which message an agent is shown nothing any more of a conversation, since a
-- person had its context erased; of the agent '', every agent.
CREATE TABLE context_erasures (
    agent        TEXT NOT NULL,
    conversation TEXT NOT NULL REFERENCES conversations (id),
    covers       BIGINT NOT NULL, -- messages up to this seq
    PRIMARY KEY (conversation, agent)
);
