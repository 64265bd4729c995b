-- flush makes what waits under a key due now.
--
-- KEYS    gen, window, heads
-- ARGV    key, channel, shard
-- steps   bring the window's time forward, and the key's unless it is in flight
-- returns as add
vital()
local window = KEYS[2]
local w = redis.call('HMGET', window, 'last', 'gen', 'due', 'group')
if not w[1] then return -1 end
local now = clock()
if w[3] and tonumber(w[3]) > now then redis.call('HSET', window, 'due', int(now)) end
if w[2] then return -1 end
local at = tonumber(redis.call('ZSCORE', p .. 'd:' .. w[4], ARGV[1]))
if at and at <= now then return -1 end
return arm(w[4], ARGV[1], now, now, ARGV[2], ARGV[3])
