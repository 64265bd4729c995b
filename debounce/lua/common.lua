-- common stands before every script of this folder.
--
-- Times are whole microseconds of this server's clock; they fit a double
-- exactly until the year 2255. Numbers become text only by int(): tostring()
-- and .. keep 14 digits of them.
--
-- A shard's keys begin with its hash tag, so all of them lie in one slot:
--   d:<group>  zset    key -> when it falls due; of one group. No key in here is
--                      in flight.
--   heads      zset    group -> its first due time, or an earlier one
--   ring       list    the groups that had something due, in the order in which
--                      they are served. A group with keys is in heads or ring.
--   lease      zset    key -> when its lease ends. Every key in here is in flight.
--   gen        hash    first, last: the generations given out since Redis had
--                      data; waiting: how many keys are due some time
--   closed     string  there if no new key may come: its layout is drained
--   w:<key>    hash    one for each key that has items:
--     group          who shares fairly: of the first Add
--     last           number of the newest item; items are numbered upwards
--     base           items up to this number are done; absent is 0
--     cut            items after base and up to cut are the batch that was
--                    claimed; absent if no batch was
--     opened, due    of the window that gathers the items after cut, or else
--                    after base; of no meaning while there are none
--     gen            the generation of its lease; absent while it waits for
--                    another attempt
--     batch          the generation of the batch's first claim, when its window
--                    opened and fell due, and how often it was claimed
--     recall         there if a newer item calls the batch back: its next claim
--                    takes the next window too
--     recalls        how often that happened since a batch was done
--     =<item>        the item's number
--
-- KEYS[1] is the shard's gen. As far as the keys that a script changes are known
-- beforehand they are among KEYS: while a slot moves to another node, Redis then
-- refuses a script of which it has some keys only, before it did anything. For
-- the others a script looks first and changes afterwards.
local p = string.sub(KEYS[1], 1, -4)

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function int(x)
  return string.format('%.0f', x)
end

-- head returns the first score of a zset, or that of its n-th after it.
local function head(zset, n)
  return tonumber(redis.call('ZRANGE', zset, n or 0, n or 0, 'WITHSCORES')[2])
end

-- vital has a server that is full let the script write, as it lets who has begun
-- to: what it does gives memory back in the end. It changes nothing.
local function vital()
  redis.call('HDEL', KEYS[1], '')
end

-- arm makes a key due at a time. If nothing of the shard was due before that, it
-- tells the other processes, and returns how long there is to wait; else -1.
local function arm(group, key, at, now, channel, shard)
  local due = p .. 'd:' .. group
  local before = head(due)
  if redis.call('ZADD', due, int(at), key) == 1 then redis.call('HINCRBY', p .. 'gen', 'waiting', 1) end
  if before and before <= at then return -1 end
  local first = head(p .. 'heads')
  redis.call('ZADD', p .. 'heads', int(at), group)
  if first and first <= at then return -1 end
  local wait = int(math.max(at - now, 0))
  redis.call('PUBLISH', channel, 'due ' .. shard .. ' ' .. wait)
  return tonumber(wait)
end

-- unheld says why a lease is not held: 'lost' if another claim took or settled
-- its batch, 'gone' if Redis has forgotten that it ever gave this lease.
local function unheld(current, generation)
  if current then return 'lost' end
  local g = redis.call('HMGET', p .. 'gen', 'first', 'last')
  local n = tonumber(generation)
  if g[1] and tonumber(g[1]) <= n and n <= tonumber(g[2]) then return 'lost' end
  return 'gone'
end

-- forget removes the items numbered from..to of a window, and the fields.
local function forget(window, from, to, fields)
  local all = redis.call('HGETALL', window)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == '=' then
      local n = tonumber(all[i + 1])
      if from <= n and n <= to then fields[#fields + 1] = all[i] end
    end
  end
  for i = 1, #fields, 100 do -- a call takes only so many arguments
    redis.call('HDEL', window, unpack(fields, i, math.min(i + 99, #fields)))
  end
end
