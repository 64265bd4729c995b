-- drop forgets what waits under a key. A batch in flight stays.
--
-- KEYS    gen, window, heads
-- ARGV    key
-- steps   in flight: remove the next window; else the key, and its group if
--         that has no other one
-- returns 1
local window = KEYS[2]
local w = redis.call('HMGET', window, 'gen', 'last', 'cut', 'group')
if w[1] then
  if w[2] ~= w[3] then
    forget(window, tonumber(w[3]) + 1, tonumber(w[2]), {'recall'})
    redis.call('HSET', window, 'last', w[3])
  end
  return 1
end
if not w[4] then return 1 end
redis.call('DEL', window)
if redis.call('ZREM', p .. 'd:' .. w[4], ARGV[1]) == 1 then redis.call('HINCRBY', p .. 'gen', 'waiting', -1) end
if redis.call('EXISTS', p .. 'd:' .. w[4]) == 0 then
  redis.call('ZREM', p .. 'heads', w[4])
  redis.call('LREM', p .. 'ring', 0, w[4])
end
return 1
