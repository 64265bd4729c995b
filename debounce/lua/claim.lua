-- claim takes what is due: first the batches whose lease ended, then the
-- windows and the repeated batches whose time has come. Where more is due than
-- it may take, groups take turns, and those of one group come oldest first.
--
-- KEYS    gen, heads, ring, lease
-- ARGV    most batches, length of the lease, after how many items to stop
-- steps   put the groups that have something due behind the ring; as long as
--         more may be taken, take from the first of the ring and put it behind.
--         For each key: a window becomes a batch (cut = last), a batch stays
--         what it was unless it was called back; raise generation and attempt;
--         move the key to lease
-- returns {microseconds until the next one is due or -1, now, how many leases
--         had ended, {key, batch, generation, attempt, opened, due, recalls,
--         group, item...}...}
--
-- Where a key is on another node already, since the slot is moving, it stops and
-- is asked again a moment later.
--
-- A generation is at least the time, hence also rises when Redis lost the last
-- ones that it gave.
local now, left, items_left = clock(), tonumber(ARGV[1]), tonumber(ARGV[3])
local heads, ring, leases = KEYS[2], KEYS[3], KEYS[4]
local lease_end = int(now + ARGV[2])
local out = {-1, now, 0}
local generation
local moving = false

-- take moves one key in flight and adds its batch to out. A key without items
-- is forgotten. It reports whether the key was here.
local function take(key)
  local window = p .. 'w:' .. key
  local w, items = {}, {}
  local all = redis.pcall('HGETALL', window)
  if all.err then
    moving = true
    return false
  end
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == '=' then
      items[tonumber(all[i + 1])] = string.sub(all[i], 2)
    else
      w[all[i]] = all[i + 1]
    end
  end
  if not (w.cut or w.opened) then
    redis.call('ZREM', leases, key)
    redis.call('DEL', window)
    return true
  end
  if not generation then
    local given = redis.call('HGET', p .. 'gen', 'last')
    generation = math.max(tonumber(given or 0), now - 1)
    if not given then redis.call('HSET', p .. 'gen', 'first', int(generation + 1)) end
  end
  generation = generation + 1
  local gen = int(generation)
  local recalls = tonumber(w.recalls or 0)
  if w.recall and w.opened then
    w.cut, w.attempt, recalls = nil, nil, recalls + 1
    redis.call('HSET', window, 'recalls', recalls)
    w.opened = w.batch_opened
  end
  local attempt = int(tonumber(w.attempt or 0) + 1)
  if w.cut then
    redis.call('HSET', window, 'gen', gen, 'attempt', attempt)
  else
    w.cut, w.batch, w.batch_opened, w.batch_due = w.last, gen, w.opened, w.due
    redis.call('HSET', window, 'gen', gen, 'attempt', attempt, 'cut', w.cut,
      'batch', gen, 'batch_opened', w.opened, 'batch_due', w.due)
    redis.call('HDEL', window, 'opened', 'due', 'recall')
  end
  redis.call('ZADD', leases, lease_end, key)
  local batch = {key, w.batch, gen, attempt, w.batch_opened, w.batch_due, int(recalls), w.group}
  for n = tonumber(w.base or 0) + 1, tonumber(w.cut) do
    batch[#batch + 1] = items[n]
  end
  out[#out + 1] = batch
  left, items_left = left - 1, items_left - (#batch - 8)
  return true
end

for _, key in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', int(now), 'LIMIT', 0, left)) do
  if items_left > 0 and take(key) then out[3] = out[3] + 1 end
end

local due = redis.call('ZRANGEBYSCORE', heads, '-inf', int(now), 'LIMIT', 0, 100)
if #due > 0 then
  redis.call('RPUSH', ring, unpack(due))
  redis.call('ZREM', heads, unpack(due))
end
local waiting = redis.call('LLEN', ring)
while waiting > 0 and left > 0 and items_left > 0 and not moving do
  local group = redis.call('LINDEX', ring, 0)
  local zset = p .. 'd:' .. group
  local keys = redis.pcall('ZRANGEBYSCORE', zset, '-inf', int(now), 'LIMIT', 0, math.ceil(left / waiting))
  if keys.err then
    moving = true
    break
  end
  local taken = 0
  for _, key in ipairs(keys) do
    if items_left <= 0 or not take(key) then break end
    taken = taken + 1
  end
  if taken > 0 then
    redis.call('ZREM', zset, unpack(keys, 1, taken))
    redis.call('HINCRBY', p .. 'gen', 'waiting', -taken)
  end
  local first = head(zset)
  redis.call('LPOP', ring)
  if first and first <= now then
    redis.call('RPUSH', ring, group)
  else
    waiting = waiting - 1
    if first then redis.call('ZADD', heads, int(first), group) end
  end
end
if generation then redis.call('HSET', p .. 'gen', 'last', int(generation)) end

if waiting > 0 or moving then
  out[1] = moving and 50000 or 0
  return out
end
for _, zset in ipairs({heads, leases}) do
  local at = head(zset)
  if at then
    local wait = math.max(at - now, 0)
    if out[1] < 0 or wait < out[1] then out[1] = wait end
  end
end
return out
