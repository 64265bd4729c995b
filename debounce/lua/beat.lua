-- beat says that a process is at work, and returns who else is and how keys are
-- spread over shards.
--
-- KEYS    members  zset  process -> when it counts as gone
--         layouts  list  "<id> <number of shards>", the newest last: new keys go
--                        there, the others are being drained
-- ARGV    process, how long it counts ('': it only asks; 0: it leaves),
--         the layout that it knows (''), an id and a number of shards for a new
--         layout, whether it insists on that number (1), channel
-- steps   strike off who is gone and put the process down; add a layout if there
--         is none or another number is insisted on; keep a layout that Redis does not
--         know (any more) as one to drain; tell the others of a change. That it
--         begins by taking away lets a server that is full take the rest
-- returns {the processes, the layouts}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local changed = redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[2] == '0' then
  changed = changed + redis.call('ZREM', KEYS[1], ARGV[1])
elseif ARGV[2] ~= '' then
  changed = changed + redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
end

local layouts = redis.call('LRANGE', KEYS[2], 0, -1)
local known = ARGV[3] == ''
for _, l in ipairs(layouts) do known = known or l == ARGV[3] end
if not known then
  table.insert(layouts, 1, ARGV[3])
  redis.call('LPUSH', KEYS[2], ARGV[3])
  changed = 1
end
local newest = layouts[#layouts]
if not newest or ARGV[6] == '1' and string.match(newest, ' (%d+)$') ~= ARGV[5] then
  newest = ARGV[4] .. ' ' .. ARGV[5]
  layouts[#layouts + 1] = newest
  redis.call('RPUSH', KEYS[2], newest)
  changed = 1
end
if changed > 0 then redis.call('PUBLISH', ARGV[7], 'beat') end
return {redis.call('ZRANGE', KEYS[1], 0, -1), layouts}
