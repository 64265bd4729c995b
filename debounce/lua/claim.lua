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
--         move the key to lease. A batch that was called back and whose lease
--         ended waits for the window that did it
-- returns {microseconds until the next one is due or -1, now, how many leases
--         had ended, {key, generation, what its field batch is, recalls, base,
--         cut, the fields of its window as they were}...}
--
-- Where a key is on another node already, since the slot is moving, it stops and
-- is asked again a moment later. Each step leaves the shard whole, lest one be
-- the last: a key is in lease before its window says that it is in flight, and a
-- group leaves the ring when it is in heads.
--
-- A generation is at least the time, hence also rises when Redis lost the last
-- ones that it gave.
local now, left, items_left = clock(), tonumber(ARGV[1]), tonumber(ARGV[3])
local heads, ring, leases = KEYS[2], KEYS[3], KEYS[4]
local lease_end = int(now + ARGV[2])
local out = {-1, now, 0}
local generation
local moving = false
vital()

-- try is redis.call, but nil where a key is on another node already.
local function try(...)
  local r = redis.pcall(...)
  if type(r) ~= 'table' or not r.err then return r end
  if not string.find(r.err, 'non local key', 1, true) then error(r.err) end
  moving = true
end

-- take makes a batch of one key, which is in lease, and adds it to out. A key
-- without items is forgotten. It reports whether the key was here.
local function take(key, ended)
  local window = p .. 'w:' .. key
  local all = try('HGETALL', window)
  if not all then return false end
  local w = {}
  for i = 1, #all, 2 do w[all[i]] = all[i + 1] end
  local open = w.last and w.last ~= (w.cut or w.base)
  if not (w.cut or open) then
    redis.call('ZREM', leases, key)
    redis.call('DEL', window)
    return true
  end
  local called_back = w.recall and open
  if ended and called_back and tonumber(w.due) > now then
    redis.call('ZADD', leases, w.due, key)
    return true
  end
  if not generation then
    local given = redis.call('HGET', KEYS[1], 'last')
    generation = math.max(tonumber(given or 0), now - 1)
    if not given then redis.call('HSET', KEYS[1], 'first', int(generation + 1)) end
  end
  generation = generation + 1
  local gen = int(generation)
  local recalls = w.recalls or '0'
  local id, opened, due, attempt
  if w.cut then id, opened, due, attempt = string.match(w.batch, '(%d+) (%d+) (%d+) (%d+)') end
  if called_back then
    w.cut, w.opened, recalls = nil, opened, int(recalls + 1)
    redis.call('HDEL', window, 'recall')
    redis.call('HSET', window, 'recalls', recalls)
  end
  local about
  if w.cut then
    about = table.concat({id, opened, due, int(attempt + 1)}, ' ')
    redis.call('HSET', window, 'gen', gen, 'batch', about)
  else
    w.cut = w.last
    about = gen .. ' ' .. w.opened .. ' ' .. w.due .. ' 1'
    redis.call('HSET', window, 'gen', gen, 'batch', about, 'cut', w.cut)
  end
  local base = w.base or '0'
  out[#out + 1] = {key, gen, about, recalls, base, w.cut, all} -- who asked sorts the items out
  left, items_left = left - 1, items_left - (w.cut - base)
  if ended then
    out[3] = out[3] + 1
    redis.call('ZADD', leases, lease_end, key)
  end
  return true
end

for _, key in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', int(now), 'LIMIT', 0, left)) do
  if items_left <= 0 or not take(key, true) then break end
end

local due = redis.call('ZRANGEBYSCORE', heads, '-inf', int(now), 'LIMIT', 0, 100)
if #due > 0 then
  redis.call('RPUSH', ring, unpack(due))
  redis.call('ZREM', heads, unpack(due))
end
local waiting = redis.call('LLEN', ring)
local n_taken = 0
while waiting > 0 and left > 0 and items_left > 0 and not moving do
  local group = redis.call('LINDEX', ring, 0)
  local zset = p .. 'd:' .. group
  local keys = try('ZRANGEBYSCORE', zset, '-inf', int(now), 'LIMIT', 0, math.ceil(left / waiting))
  if not keys then break end
  local n = 0
  if #keys > 0 then
    local lease = {}
    for _, key in ipairs(keys) do
      lease[#lease + 1] = lease_end
      lease[#lease + 1] = key
    end
    if not try('ZADD', leases, unpack(lease)) then break end
    while n < #keys and items_left > 0 and take(keys[n + 1]) do n = n + 1 end
    if n < #keys then redis.call('ZREM', leases, unpack(keys, n + 1)) end
  end
  local first = head(zset, n) -- once these are gone, and the zset perhaps too
  if n > 0 then redis.call('ZREMRANGEBYRANK', zset, 0, n - 1) end
  n_taken = n_taken + n
  if first and first <= now then
    redis.call('LMOVE', ring, ring, 'LEFT', 'RIGHT')
  elseif not first or try('ZADD', heads, int(first), group) then
    redis.call('LPOP', ring)
    waiting = waiting - 1
  end
end
if generation then redis.call('HSET', KEYS[1], 'last', int(generation)) end
if n_taken > 0 then redis.call('HINCRBY', KEYS[1], 'waiting', -n_taken) end

for _, zset in ipairs({heads, leases}) do
  local first = try('ZRANGE', zset, 0, 0, 'WITHSCORES')
  if first and first[2] then
    local wait = math.max(first[2] - now, 0)
    if out[1] < 0 or wait < out[1] then out[1] = wait end
  end
end
if moving then
  out[1] = 50000
elseif waiting > 0 then
  out[1] = 0
end
return out
