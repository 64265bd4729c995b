-- flush makes what waits under a key due now.
--
-- KEYS    gen, window, heads
-- ARGV    key
-- steps   bring the window's time forward, and the key's unless it is in flight
-- returns as add
vital()
local window = KEYS[2]
local s, b, group = unpack(redis.call('HMGET', window, 's', 'b', 'g'))
if not s then return -1 end
local now = clock()
local last, base, opened, due = standing(s)
if tonumber(due) > now then redis.call('HSET', window, 's', last .. ' ' .. base .. ' ' .. opened .. ' ' .. int(now)) end
if b and string.match(b, '^%d+ (%d+)') ~= '0' then return -1 end
local at = tonumber(redis.call('ZSCORE', p .. 'd:' .. group, ARGV[1]))
if at and at <= now then return -1 end
return arm(group, ARGV[1], now, now)
