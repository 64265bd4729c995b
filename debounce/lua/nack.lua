-- nack gives a batch back: the same items are due again after a delay.
--
-- KEYS    due, lease, window, gen
-- ARGV    key, generation, channel, shard, delay
-- steps   compare the generation; end the lease; make the key due
-- returns {'held', 'lost' or 'gone' (see common), as add}
local current = redis.call('HGET', KEYS[3], 'gen')
if current ~= ARGV[2] then return {unheld(KEYS[4], current, ARGV[2]), -1} end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], 'gen')
local now = clock()
return {'held', arm(KEYS[1], ARGV[1], now + ARGV[5], now, ARGV[3], ARGV[4])}
