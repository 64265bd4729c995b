-- What an agent may say of its models, limits, memory and routes, what an
-- account says of its time zone and hours, and what contacts are filed under.

ALTER TABLE agents ADD COLUMN fallbacks TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN model_settings TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN spend_limits TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN compaction TEXT NOT NULL DEFAULT '{"mode":"off"}';
ALTER TABLE agents ADD COLUMN memory_blocks TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN contact_memory BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN answers TEXT NOT NULL DEFAULT ''; -- empty: it answers what no other agent does

ALTER TABLE accounts ADD COLUMN time_zone TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN hours TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN router TEXT NOT NULL DEFAULT '';

ALTER TABLE contacts ADD COLUMN tags TEXT NOT NULL DEFAULT '';

ALTER TABLE runs ADD COLUMN routed TEXT NOT NULL DEFAULT '';
