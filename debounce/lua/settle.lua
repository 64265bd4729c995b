-- settle says what became of batches in flight: one that was handled is
-- forgotten, and the window that gathered meanwhile is armed; one that was not
-- is due again, later or, if it was called back, together with that window.
--
-- KEYS    gen, lease, heads, then for each batch: window, due times of its group
-- ARGV    channel, shard, then for each batch: key, generation, 'done' or
--         'again', delay
-- steps   compare the generation; end the lease; done: delete the window if
--         nothing came meanwhile, else remove the finished items and arm the
--         rest, due now at the earliest; again: arm the batch after the delay,
--         or with the window that called it back
-- returns {as add, 'held', 'lost' or 'gone' (see common) for each batch}
local now = clock()
local out = {-1}

-- What is over is removed in one go.
local ended, empty = {}, {}

local function one(key, generation, what, delay)
  local window = p .. 'w:' .. key
  local w = redis.call('HMGET', window, 'gen', 'last', 'cut')
  if w[1] ~= generation then return unheld(w[1], generation) end
  ended[#ended + 1] = key
  if what == 'done' and w[2] == w[3] then
    empty[#empty + 1] = window
    return 'held'
  end
  local due, group, recall = unpack(redis.call('HMGET', window, 'due', 'group', 'recall'))
  local at
  if what == 'again' then
    redis.call('HDEL', window, 'gen')
    at = recall and math.max(now, tonumber(due)) or now + delay
  else
    forget(window, 0, tonumber(w[3]), {'cut', 'batch', 'gen', 'recall', 'recalls'})
    at = math.max(tonumber(due), now)
    redis.call('HSET', window, 'base', w[3], 'due', int(at))
  end
  local wait = arm(group, key, at, now, ARGV[1], ARGV[2])
  if wait >= 0 and (out[1] < 0 or wait < out[1]) then out[1] = wait end
  return 'held'
end

for i = 3, #ARGV, 4 do
  out[#out + 1] = one(ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]))
end
if #ended > 0 then redis.call('ZREM', p .. 'lease', unpack(ended)) end
if #empty > 0 then redis.call('DEL', unpack(empty)) end
return out
