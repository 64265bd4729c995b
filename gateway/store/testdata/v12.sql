-- What a wagent with schema version 12 may have left behind.
INSERT INTO accounts (id, kind, name, phone_number, phone_number_id, waba_id, access_token, app_secret, verify_token, graph_url, declared, active, created_at)
VALUES ('acc_old', 'sandbox', 'Old', '', '', '', '', '', '', '', FALSE, TRUE, 1700000000000);
INSERT INTO contacts (id, account, phone, lid, group_id, name, created_at, tags) VALUES ('ctc_old', 'acc_old', '+15550000001', '', '', 'Alice', 1700000000000, '["vip"]');
INSERT INTO contact_aliases (account, alias, contact) VALUES ('acc_old', 'phone:+15550000001', 'ctc_old');
INSERT INTO conversations (id, account, contact, last_inbound_at, created_at) VALUES ('cnv_old', 'acc_old', 'ctc_old', 1700000000000, 1700000000000);
INSERT INTO messages (id, account, conversation, contact, direction, origin, external_id, part, type, body, detail, reply_to, sent_at, received_at, state, state_reason, status, run, change, target, revoked_at)
VALUES ('msg_old', 'acc_old', 'cnv_old', 'ctc_old', 'in', 'live', 'wamid.1', 0, 'text', 'hello', '', '', 1700000000000, 1700000000000, 'waiting', '', '', '', '', '', 0);
INSERT INTO media (message, account, state, mime_type, name, size, source, attempt, next_at, error, expires_at, created_at)
VALUES ('msg_old', 'acc_old', 'kept', 'text/plain', '', 5, '', 1, 0, '', 1700000000000, 1700000000000);
INSERT INTO media_data (message, data) VALUES ('msg_old', '');
INSERT INTO agents (id, config_key, account, name, description, system_prompt, model, temperature, max_tokens, active, auto_run, quiet_ms, max_wait_ms, max_batch, context_ttl_ms, allowed_actions, payload_schema, confirm, confirmation_timeout_ms, inbound_filter, fallback_reply, created_at, updated_at, deleted_at, on_new_message, max_supersedes,
    fallbacks, model_settings, spend_limits, compaction, memory_blocks, contact_memory, answers)
VALUES ('00000000-0000-4000-8000-000000000001', '', 'acc_old', 'Old', '', 'Be kind.', 'gpt-4o-mini', 0.3, 1024, TRUE, TRUE, 10000, 60000, 20, 3600000, 'null', '[]', FALSE, 1800000, '{}', '', 1700000000000, 1700000000000, 0, 'supersede', 2,
    '["groq/llama-3.3-70b-versatile"]', '{"seed":7,"reasoning_effort":"low","thinking_budget":2048,"parallel_tool_calls":false}', '{"runs_per_hour":30,"tokens_per_day":200000}',
    '{"mode":"sliding_window","model":"openai/gpt-4o-mini","max_tokens":8000}', '[{"label":"policy","value":"Check-out is at eleven."}]', 2000, '{"keywords":["room"],"languages":["en"],"tags":["vip"],"hours":"open"}');
INSERT INTO runs (id, agent, account, conversation, conversation_key, context_key, started_by, status, generation, attempt, lease_until, input, metadata, output, stop_reason, error, notes, model, input_tokens, output_tokens, latency_ms, duration_ms, actions_decided, created_at, started_at, completed_at, routed)
VALUES ('run_old', '00000000-0000-4000-8000-000000000001', 'acc_old', '', '', '', 'api', 'pending', 0, 0, 0, '{}', '', '', '', '', '', '', 0, 0, 0, 0, 0, 1700000000000, 0, 0, 'keyword');
INSERT INTO accounts (id, kind, name, phone_number, phone_number_id, waba_id, access_token, app_secret, verify_token, graph_url, declared, active, created_at, linked, allow_from, takeover_ms, time_zone, hours, router)
VALUES ('acc_phone', 'linked_device', 'Phone', '', '', '', '', '', '', '', FALSE, TRUE, 1700000000000, '{"Groups":"ignore","MarkRead":"answering","Typing":true,"SendGap":2000000000}', '["+15550000001"]', 60000, 'Europe/Paris', '{"1":[{"From":540,"To":1080}]}', 'groq/llama-3.1-8b-instant');
INSERT INTO links (account, device, phone, lid, state, reason, retry_at, no_first_until, connected_at, last_frame_at, logging_out, holder, fence, lease_until, next_send_at, updated_at)
VALUES ('acc_phone', '15559999999:1@s.whatsapp.net', '+15559999999', '900', 'connected', '', 0, 0, 1700000000000, 1700000000000, FALSE, 'holder_old', 3, 1700000010000, 0, 1700000000000);
INSERT INTO pairings (account, method, phone, step, qr, code, options, answer, confirmed, error, expires_at, created_at, updated_at)
VALUES ('acc_phone', 'qr', '', 'done', '', '', '', '', FALSE, '', 0, 1700000000000, 1700000000000);
INSERT INTO conversation_windows (conversation, quiet_ms, max_wait_ms, max_batch, on_new_message, max_supersedes, updated_at)
VALUES ('cnv_old', 5000, NULL, NULL, NULL, 1, 1700000000000);
INSERT INTO context_summaries (agent, conversation, covers, body, expires_at)
VALUES ('00000000-0000-4000-8000-000000000001', 'cnv_old', 1, 'They asked for towels.', 32503680000000);
INSERT INTO contact_memories (agent, contact, body, updated_at)
VALUES ('00000000-0000-4000-8000-000000000001', 'ctc_old', 'Prefers a quiet room.', 1700000000000);
INSERT INTO api_keys (name, hash, declared, id, scope, test, accounts, per_minute, created_at, last_used_at, revoked_at)
VALUES ('shop', '00', FALSE, 'key_old', 'write', TRUE, '["acc_old"]', 60, 1700000000000, 0, 0);
INSERT INTO webhooks (config_key, url, secret, active, disabled, events, actions, created_at, previous_secret, previous_until, updated_at, deleted_at)
VALUES ('', 'https://example.com/hook', '', FALSE, '', '["message.received"]', 'null', 1700000000000, '', 0, 1700000000000, 1700000000000);
INSERT INTO templates (id, account, external_id, name, language, category, status, components, reason, told_at, created_at, updated_at, synced_at)
VALUES ('tpl_old', 'acc_old', '501', 'hello', 'en', 'UTILITY', 'approved', '[{"type":"BODY","text":"Hello"}]', '', 0, 1700000000000, 1700000000000, 1700000000000);
INSERT INTO template_tombstones (account, external_id, name, language, deleted_at) VALUES ('acc_old', '500', 'hello', 'en', 1700000000000);
INSERT INTO connects (id, account, expires_at, created_at) VALUES ('con_old', '', 1700003600000, 1700000000000);
INSERT INTO deliveries (id, webhook, event, run, action_index, conversation, body, state, attempt, next_at, created_at)
SELECT 'del_old', MAX(id), 'message.received', '', 7, 'cnv_old', '{}', 'pending', 1, 1700000000000, 1700000000000 FROM webhooks;
INSERT INTO attempts (delivery, number, at, latency_ms, status_code, error, answer) VALUES ('del_old', 1, 1700000000000, 5, 500, '', 'oh');
INSERT INTO actions (run, position, type, payload, status, decided_at, decided_by, expires_at, result, answered_by, answered_at)
VALUES ('run_old', 0, 'room.towels.bring', '{}', 'auto', 0, '', 0, '{"ticket":7}', 1, 1700000000000);
UPDATE conversations SET erased = '{"agt_old":0}' WHERE id = 'cnv_old';
