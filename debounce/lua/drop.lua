-- drop forgets what waits under a key. A batch in flight stays.
--
-- KEYS    gen, window, heads
-- ARGV    key
-- steps   in flight: remove the next window; else the key, and its group if
--         that has no other one
-- returns 1
local window = KEYS[2]
local s, b, group = unpack(redis.call('HMGET', window, 's', 'b', 'g'))
if not s then return 1 end
local cut, lease, _, recalls, about
if b then cut, lease, _, recalls, about = batch(b) end
if b and lease ~= '0' then
  local last, base, opened, due = standing(s)
  if last ~= cut then
    forget(window, cut + 1, tonumber(last))
    redis.call('HSET', window, 's', cut .. ' ' .. base .. ' ' .. opened .. ' ' .. due, 'b', cut .. ' ' .. lease .. ' 0 ' .. recalls .. ' ' .. about)
  end
  return 1
end
redis.call('DEL', window)
local zset = p .. 'd:' .. group
if redis.call('ZREM', zset, ARGV[1]) == 1 then redis.call('HINCRBY', p .. 'gen', 'waiting', -1) end
if redis.call('EXISTS', zset) == 0 then
  redis.call('ZREM', p .. 'heads', group)
  redis.call('LREM', p .. 'ring', 0, group)
end
return 1
