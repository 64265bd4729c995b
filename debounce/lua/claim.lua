-- claim takes what is due: first the batches whose lease ended, then the
-- windows and the repeated batches whose time has come. Where more is due than
-- it may take, groups take turns, and those of one group come oldest first.
--
-- KEYS    gen, heads, ring, lease
-- ARGV    most batches, length of the lease, after how many items to stop, 1 if
--         the keys may move to another node
-- steps   put the groups that have something due behind the ring; as long as
--         more may be taken, take from the first of the ring and put it behind.
--         For each key: a window becomes a batch (cut = last), a batch stays
--         what it was unless it was called back; raise generation and attempt;
--         move the key to lease. A batch that was called back and whose lease
--         ended waits for the window that did it, and is nobody's meanwhile
-- returns {microseconds until the next one is due or -1, now, how many leases
--         had ended, {key, b of its window, group, the fields of the items}...}
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
local try = redis.call
if ARGV[4] == '1' then
  try = function(...)
    local r = redis.pcall(...)
    if type(r) ~= 'table' or not r.err then return r end
    if not string.find(r.err, 'non local key', 1, true) then error(r.err) end
    moving = true
  end
end

-- take makes a batch of one key, which is in lease, and adds it to out. A key
-- without items is forgotten. It reports whether the key was here.
local function take(key, ended)
  local window = p .. 'w:' .. key
  local all = try('HGETALL', window)
  if not all then return false end
  local s, b, group
  for i = 1, #all, 2 do
    local field = all[i]
    if field == 's' then
      s = all[i + 1]
    elseif field == 'b' then
      b = all[i + 1]
    elseif field == 'g' then
      group = all[i + 1]
    end
  end
  local last, base, opened, due, cut, lease, recalled, recalls, about
  if s then last, base, opened, due = standing(s) end
  if b then cut, lease, recalled, recalls, about = batch(b) end
  local open = last ~= (cut or base)
  if not s or not (b or open) then
    redis.call('ZREM', leases, key)
    redis.call('DEL', window)
    return true
  end
  local called_back = recalled == '1' and open
  if ended and called_back and tonumber(due) > now then
    if not try('EXISTS', p .. 'd:' .. group) then -- it can not be armed here
      redis.call('ZADD', leases, due, key)
      return true
    end
    redis.call('HSET', window, 'b', given_back(cut, lease, recalled, recalls, about))
    arm(group, key, tonumber(due), now)
    redis.call('ZREM', leases, key)
    return true
  end
  if not generation then
    local given = redis.call('HGET', KEYS[1], 'last')
    generation = math.max(tonumber(given or 0), now - 1)
    if not given then redis.call('HSET', KEYS[1], 'first', int(generation + 1)) end
  end
  generation = generation + 1
  local gen = int(generation)
  if not b then
    cut, b = last, last .. ' ' .. gen .. ' 0 0 0 ' .. opened .. ' ' .. due .. ' 1'
  else
    local first, began, fell, attempt = string.match(about, '^(%d+) (%d+) (%d+) (%d+)')
    if called_back then
      cut, b = last, last .. ' ' .. gen .. ' 0 ' .. int(recalls + 1) .. ' 0 ' .. began .. ' ' .. due .. ' 1'
    else
      if first == '0' then first = lease end
      b = cut .. ' ' .. gen .. ' ' .. recalled .. ' ' .. recalls .. ' ' .. first .. ' ' .. began .. ' ' .. fell .. ' ' .. int(attempt + 1)
    end
  end
  redis.call('HSET', window, 'b', b)
  local row = {key, b, group, nil, nil, nil, nil} -- has room, so that it seldom grows
  local done = tonumber(base)
  local n_items = cut - done
  for i = 1, #all, 2 do
    local field = all[i]
    if string.byte(field, 1) == 61 then -- =; without the 1, miniredis's Lua returns every byte
      local n = all[i + 1] - done
      if n > 0 and n <= n_items then row[n + 3] = field end
    end
  end
  out[#out + 1] = row
  left, items_left = left - 1, items_left - n_items
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
local waiting
if #due > 0 then
  waiting = redis.call('RPUSH', ring, unpack(due))
  redis.call('ZREM', heads, unpack(due))
else
  waiting = redis.call('LLEN', ring)
end
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
