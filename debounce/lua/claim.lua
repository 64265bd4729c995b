-- claim takes what is due: first the batches whose lease ended, then the
-- windows and the repeated batches whose time has come, oldest first.
--
-- KEYS    due, lease, gen
-- ARGV    prefix of the windows' keys, most batches, length of the lease
-- steps   for each key: a window becomes a batch (cut = last), a batch stays
--         what it was; raise generation and attempt; move the key from due to
--         lease
-- returns {microseconds until the next one is due or -1, now, how many leases
--         had ended, {key, batch, generation, attempt, opened, due, item...}...}
--
-- The windows' keys are built here: they carry the shard's hash tag, so they lie
-- in the slot of KEYS. A generation is at least the time, hence also rises when
-- Redis lost the last ones that it gave.
local now, limit = clock(), tonumber(ARGV[2])
local keys = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(now), 'LIMIT', 0, limit)
local expired = #keys
if expired < limit then
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', 0, limit - expired)
  for _, key in ipairs(due) do keys[#keys + 1] = key end
end

local generation
if #keys > 0 then
  local given = redis.call('HGET', KEYS[3], 'last')
  generation = math.max(tonumber(given or 0), now - 1)
  if not given then redis.call('HSET', KEYS[3], 'first', int(generation + 1)) end
end

-- take moves one key in flight and returns its batch, or nil if it has no items.
local function take(key)
  local window = ARGV[1] .. key
  local w, items = {}, {}
  local all = redis.call('HGETALL', window)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == '=' then
      items[tonumber(all[i + 1])] = string.sub(all[i], 2)
    else
      w[all[i]] = all[i + 1]
    end
  end
  redis.call('ZREM', KEYS[1], key)
  if not (w.cut or w.opened) then
    redis.call('ZREM', KEYS[2], key)
    redis.call('DEL', window)
    return nil
  end
  generation = generation + 1
  local gen, attempt = int(generation), int(tonumber(w.attempt or 0) + 1)
  if not w.cut then
    w.cut, w.batch, w.batch_opened, w.batch_due = w.last, gen, w.opened, w.due
    redis.call('HSET', window, 'cut', w.cut, 'batch', gen,
      'batch_opened', w.opened, 'batch_due', w.due)
    redis.call('HDEL', window, 'opened', 'due')
  end
  redis.call('HSET', window, 'gen', gen, 'attempt', attempt)
  redis.call('ZADD', KEYS[2], int(now + ARGV[3]), key)
  local batch = {key, w.batch, gen, attempt, w.batch_opened, w.batch_due}
  for n = tonumber(w.base or 0) + 1, tonumber(w.cut) do
    batch[#batch + 1] = items[n]
  end
  return batch
end

local out = {-1, now, expired}
for _, key in ipairs(keys) do out[#out + 1] = take(key) end
if generation then redis.call('HSET', KEYS[3], 'last', int(generation)) end

for i = 1, 2 do
  local at = head(KEYS[i])
  if at then
    local wait = math.max(at - now, 0)
    if out[1] < 0 or wait < out[1] then out[1] = wait end
  end
end
return out
