-- done forgets a batch that was handled, and arms the window that gathered
-- meanwhile.
--
-- KEYS    due, lease, window, gen
-- ARGV    key, generation, channel, shard
-- steps   compare the generation; end the lease; delete the window if nothing
--         came meanwhile; else remove the finished items and arm the rest, due
--         now at the earliest
-- returns {'held', 'lost' or 'gone' (see common), as add}
local w = redis.call('HMGET', KEYS[3], 'gen', 'last', 'cut', 'due')
if w[1] ~= ARGV[2] then return {unheld(KEYS[4], w[1], ARGV[2]), -1} end
redis.call('ZREM', KEYS[2], ARGV[1])
if w[2] == w[3] then
  redis.call('DEL', KEYS[3])
  return {'held', -1}
end
forget(KEYS[3], 0, tonumber(w[3]),
  {'cut', 'batch', 'gen', 'attempt', 'batch_opened', 'batch_due'})
local now = clock()
local at = math.max(tonumber(w[4]), now)
redis.call('HSET', KEYS[3], 'base', w[3], 'due', int(at))
return {'held', arm(KEYS[1], ARGV[1], at, now, ARGV[3], ARGV[4])}
