-- add puts an item in a key's window and sets when the window falls due. An
-- item that waits or is in flight changes nothing.
--
-- KEYS    due, window
-- ARGV    key, item, group, quiet, max wait (0: none), max items (0: none),
--         channel, shard
-- steps   refuse a known item; number it; due = min(now + quiet, opened + max
--         wait), at once if the window is full, and as it was if that time has
--         come; arm it unless a batch of this key is claimed or to be repeated
-- returns microseconds until the shard's first window is due, if this Add made
--         it earlier; else -1
local item = '=' .. ARGV[2]
local w = redis.call('HMGET', KEYS[2], item, 'last', 'cut', 'base', 'opened', 'due')
if w[1] then return -1 end

local now = clock()
local last = tonumber(w[2] or 0) + 1
local opened = tonumber(w[5] or now)
local due = tonumber(w[6])
local at = now + ARGV[4]
local max_wait, max_items = tonumber(ARGV[5]), tonumber(ARGV[6])
if max_wait > 0 then at = math.max(now, math.min(at, opened + max_wait)) end
if max_items > 0 and last - (w[3] or w[4] or 0) >= max_items then at = now end
if due and due <= now then at = due end

redis.call('HSET', KEYS[2], item, last, 'last', last, 'group', ARGV[3],
  'opened', int(opened), 'due', int(at))
if w[3] then return -1 end
return arm(KEYS[1], ARGV[1], at, now, ARGV[7], ARGV[8])
