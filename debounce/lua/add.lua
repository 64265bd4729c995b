-- add puts an item in a key's window and sets when the window falls due. An
-- item that waits or is in flight changes nothing.
--
-- KEYS    gen, window, due times of the group, heads
-- ARGV    key, item, group, quiet, max wait (0: none), max items (0: none),
--         most recalls, channel, shard
-- steps   refuse a known item, and a new key where none may come; number the
--         item; due = min(now + quiet, opened + max wait), at once if the window
--         is full, and as it was if that time has come; call back a batch that
--         is in flight, if it may be; arm the key unless its batch comes first
-- returns microseconds until the shard's first window is due, if this Add made
--         it earlier; else -1; -2 if the key has to go to another layout
local window, item = KEYS[2], '=' .. ARGV[2]
local w = redis.call('HMGET', window, item, 'last', 'cut', 'base', 'opened', 'due', 'group', 'gen', 'recall', 'recalls')
if w[1] then return -1 end
if not w[2] and redis.call('EXISTS', p .. 'closed') == 1 then return -2 end

local now = clock()
local last = tonumber(w[2] or 0) + 1
local cut = w[3] or w[4] or 0
local open = tonumber(cut) < last - 1
local opened = open and tonumber(w[5]) or now
local due = open and tonumber(w[6])
local at = now + ARGV[4]
local max_wait, max_items = tonumber(ARGV[5]), tonumber(ARGV[6])
if max_wait > 0 then at = math.max(now, math.min(at, opened + max_wait)) end
if max_items > 0 and last - cut >= max_items then at = now end
if due and due <= now then at = due end

local group = w[7] or ARGV[3]
local set = {item, last, 'last', last, 'due', int(at)}
if not open then set[#set + 1] = 'opened'; set[#set + 1] = int(now) end
if not w[7] then set[#set + 1] = 'group'; set[#set + 1] = group end
local recall = w[8] and not w[9] and tonumber(w[10] or 0) < tonumber(ARGV[7])
if recall then set[#set + 1] = 'recall'; set[#set + 1] = 1 end
redis.call('HSET', window, unpack(set))
if recall then redis.call('PUBLISH', ARGV[8], 'recall ' .. ARGV[9] .. ' ' .. w[8]) end
if w[8] or w[3] and not w[9] then return -1 end
if due and not w[3] and at > due and redis.call('ZADD', p .. 'd:' .. group, 'XX', 'CH', int(at), ARGV[1]) == 1 then
  return -1 -- later than it was: nothing is due earlier
end
return arm(group, ARGV[1], at, now, ARGV[8], ARGV[9])
