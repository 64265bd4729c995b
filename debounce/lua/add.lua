-- add puts an item in a key's window and sets when the window falls due. An
-- item that waits or is in flight changes nothing.
--
-- KEYS    gen, window, due times of the group, heads
-- ARGV    key, item, group, quiet, max wait (0: none), max items (0: none),
--         most recalls
-- steps   refuse a known item, and a new key where none may come; number the
--         item; due = min(now + quiet, opened + max wait), at once if the window
--         is full, and as it was if that time has come; call back a batch that
--         is in flight, if it may be; arm the key unless its batch comes first
-- returns microseconds until the shard's first window is due, if this Add made
--         it earlier; else -1; -2 if the key has to go to another layout
local window, item = KEYS[2], '=' .. ARGV[2]
local known, s, b, group = unpack(redis.call('HMGET', window, item, 's', 'b', 'g'))
if known then return -1 end
if not s and redis.call('EXISTS', p .. 'closed') == 1 then return -2 end
local last, base, opened, due = '0', '0'
if s then last, base, opened, due = standing(s) end
local cut, lease, recalled, recalls, about
if b then cut, lease, recalled, recalls, about = batch(b) end

local now = clock()
local from = cut or base
local open = last ~= from
if not open then opened = int(now) end
due = open and tonumber(due)
last = int(last + 1)
local at = now + ARGV[4]
local max_wait, max_items = tonumber(ARGV[5]), tonumber(ARGV[6])
if max_wait > 0 then at = math.max(now, math.min(at, opened + max_wait)) end
if max_items > 0 and last - from >= max_items then at = now end
if due and due <= now then at = due end
local score = int(at)

local stands = last .. ' ' .. base .. ' ' .. opened .. ' ' .. score
if b and lease ~= '0' and recalled == '0' and tonumber(recalls) < tonumber(ARGV[7]) then
  local called_back = cut .. ' ' .. lease .. ' 1 ' .. recalls .. ' ' .. about
  redis.call('HSET', window, item, last, 's', stands, 'b', called_back)
  say('recall', lease)
elseif group then
  redis.call('HSET', window, item, last, 's', stands)
else
  group = ARGV[3]
  redis.call('HSET', window, item, last, 's', stands, 'g', group)
end
if b and (lease ~= '0' or recalled == '0') then return -1 end
if due and not b and at > due and redis.call('ZADD', p .. 'd:' .. group, 'XX', 'CH', score, ARGV[1]) == 1 then
  return -1 -- later than it was: nothing is due earlier
end
return arm(group, ARGV[1], at, now)
