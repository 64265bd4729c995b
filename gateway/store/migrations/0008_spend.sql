-- What an agent spent lately is found without reading all its runs.

CREATE INDEX runs_spent ON runs (agent, completed_at) WHERE completed_at > 0;
CREATE INDEX runs_recent ON runs (context_key, completed_at) WHERE context_key <> '' AND completed_at > 0;
