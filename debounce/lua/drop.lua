-- drop forgets what waits under a key. A batch in flight stays.
--
-- KEYS    due, window
-- ARGV    key
-- steps   in flight: remove the next window; else the key
-- returns 1
local w = redis.call('HMGET', KEYS[2], 'gen', 'last', 'cut')
if w[1] then
  if w[2] ~= w[3] then
    forget(KEYS[2], tonumber(w[3]) + 1, tonumber(w[2]), {'opened', 'due'})
    redis.call('HSET', KEYS[2], 'last', w[3])
  end
  return 1
end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
