-- settle says what became of batches in flight: one that was handled is
-- forgotten, and the window that gathered meanwhile is armed; one that was not
-- is due again, later or, if it was called back, together with that window.
--
-- KEYS    gen, lease, heads, then for each batch: window, due times of its group
-- ARGV    for each batch: generation, then 'done' or, if it comes again, after
--         how long
-- steps   compare the generation; end the lease; done: delete the window if
--         nothing came meanwhile, else remove the finished items and arm the
--         rest, due now at the earliest; again: arm the batch after the delay,
--         or with the window that called it back
-- returns {as add, 'held', 'lost' or 'gone' (see common) for each batch}
local now = clock()
local out = {-1}
vital()

-- What is over is removed in one go.
local ended, empty = {}, {}

local function one(window, generation, delay)
  local s, b = unpack(redis.call('HMGET', window, 's', 'b'))
  local cut, lease
  if b then cut, lease = string.match(b, '^(%d+) (%d+)') end
  if lease ~= generation then return unheld(lease, generation) end
  local key = string.sub(window, #p + 3)
  ended[#ended + 1] = key
  if delay == 'done' and string.match(s, '^%d+') == cut then
    empty[#empty + 1] = window
    return 'held'
  end
  local last, _, opened, due = standing(s)
  local at
  if delay ~= 'done' then
    local _, _, recalled, recalls, about = batch(b)
    redis.call('HSET', window, 'b', given_back(cut, lease, recalled, recalls, about))
    at = recalled == '1' and math.max(now, tonumber(due)) or now + delay
  else
    forget(window, 0, tonumber(cut))
    at = math.max(tonumber(due), now)
    redis.call('HSET', window, 's', last .. ' ' .. cut .. ' ' .. opened .. ' ' .. int(at))
    redis.call('HDEL', window, 'b')
  end
  local wait = arm(redis.call('HGET', window, 'g'), key, at, now)
  if wait >= 0 and (out[1] < 0 or wait < out[1]) then out[1] = wait end
  return 'held'
end

for i = 1, #ARGV, 2 do
  out[#out + 1] = one(KEYS[i + 3], ARGV[i], ARGV[i + 1])
end
if #ended > 0 then redis.call('ZREM', p .. 'lease', unpack(ended)) end
if #empty > 0 then redis.call('DEL', unpack(empty)) end
return out
