-- What an agent spent lately is found without reading its runs.

CREATE INDEX runs_spent ON runs (agent, completed_at, input_tokens, output_tokens) WHERE completed_at > 0;
CREATE INDEX runs_recent ON runs (context_key, completed_at) WHERE context_key <> '' AND completed_at > 0;

-- A run in hand whose context a person had erased brings nothing of it back.
ALTER TABLE runs ADD COLUMN forgotten BOOLEAN NOT NULL DEFAULT FALSE;
