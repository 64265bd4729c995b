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
--     =<item>        the item's number; items are numbered upwards
--     g              the group that shares fairly, of the first Add
--     s              how it stands: number of the newest item; items up to this
--                    number are done; when the window that gathers the items
--                    after the batch, or else after those, opened and falls due:
--                    of no meaning while there are none
--     b              the batch that was claimed, if one was: items up to this
--                    number are it; the generation of its lease, 0 while it waits
--                    for another attempt; 1 if a newer item calls it back, so that
--                    its next claim takes the next window too; how often that
--                    happened since a batch was done; the generation of its first
--                    claim, 0 if that is the lease's; when its window opened and
--                    fell due; how often it was claimed
--     A value of more than 64 bytes has Redis keep the hash in a way that takes
--     more memory and time. So b is short until a batch is claimed once more.
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

-- int is faster in two parts than as %.0f, and a %d alone has 32 bits on some
-- machines.
local function int(x)
  if x < 1e9 then return string.format('%d', x) end
  return string.format('%d%09d', x / 1e9, x % 1e9)
end

-- standing and batch read s and b of a window, as text; the end of b is left in
-- one piece.
local function standing(s)
  return string.match(s, '^(%d+) (%d+) (%d+) (%d+)')
end

local function batch(b)
  return string.match(b, '^(%d+) (%d+) (%d) (%d+) (.*)')
end

-- given_back is b of a batch whose lease is over, and that waits for another attempt.
local function given_back(cut, lease, recalled, recalls, about)
  local first, rest = string.match(about, '^(%d+) (.*)')
  if first == '0' then first = lease end
  return cut .. ' 0 ' .. recalled .. ' ' .. recalls .. ' ' .. first .. ' ' .. rest
end

-- head returns the first score of a zset, or that of the n-th after it.
local function head(zset, n)
  return tonumber(redis.call('ZRANGE', zset, n or 0, n or 0, 'WITHSCORES')[2])
end

-- vital has a server that is full let the script write, as it lets who has begun
-- to: what it does gives memory back in the end. It changes nothing.
local function vital()
  redis.call('HDEL', KEYS[1], '')
end

-- say tells the other processes something about this shard.
local function say(what, about)
  local prefix, shard = string.match(p, '^{(.*):([^:]*)}:$')
  redis.call('PUBLISH', prefix .. ':wake', what .. ' ' .. shard .. ' ' .. about)
end

-- arm makes a key due at a time. If nothing of the shard was due before that, it
-- tells the other processes, and returns how long there is to wait; else -1.
-- That somebody else is first says it without a score, which is slow to print, but
-- where a group may be in the ring, as something of it is overdue.
local function arm(group, key, at, now)
  local due, score = p .. 'd:' .. group, int(at)
  local before = at <= now and head(due)
  if redis.call('ZADD', due, score, key) == 1 then redis.call('HINCRBY', p .. 'gen', 'waiting', 1) end
  if before and before <= at then return -1 end
  if redis.call('ZRANGE', due, 0, 0)[1] ~= key then return -1 end
  if redis.call('ZADD', p .. 'heads', 'LT', 'CH', score, group) == 0 then return -1 end
  if redis.call('ZRANGE', p .. 'heads', 0, 0)[1] ~= group then return -1 end
  local wait = math.max(at - now, 0)
  say('due', int(wait))
  return wait
end

-- unheld says why a lease is not held: 'lost' if another claim took or settled
-- its batch, 'gone' if Redis has forgotten that it ever gave this lease. current
-- is the key's lease now: nil if it has no batch, 0 if nobody holds that.
local function unheld(current, generation)
  if current and current ~= '0' then return 'lost' end
  local g = redis.call('HMGET', p .. 'gen', 'first', 'last')
  local n = tonumber(generation)
  if g[1] and tonumber(g[1]) <= n and n <= tonumber(g[2]) then return 'lost' end
  return 'gone'
end

-- forget removes the items numbered from..to of a window.
local function forget(window, from, to)
  local all, fields = redis.call('HGETALL', window), {}
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
