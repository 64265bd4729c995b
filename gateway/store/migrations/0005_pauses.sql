-- The pauses that last are found among all that ever were.

CREATE INDEX pauses_ending ON pauses (expires_at) WHERE resumed_at = 0;
