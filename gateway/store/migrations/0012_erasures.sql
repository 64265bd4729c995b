-- Up to which message agents are shown nothing any more, since a person had their context
-- erased: JSON {"agent": seq}, of the agent "" every agent; '': none.
ALTER TABLE conversations ADD COLUMN erased TEXT NOT NULL DEFAULT '';
