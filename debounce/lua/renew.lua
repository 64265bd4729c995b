-- renew extends leases.
--
-- KEYS    gen, lease, then for each batch: window
-- ARGV    length of the lease, then for each batch: key, generation
-- steps   compare the generation; move the end of the lease
-- returns {'held', 'recalled', 'lost' or 'gone' (see common) for each batch}
vital()
local lease_end = int(clock() + ARGV[1])
local out = {}
for i = 2, #ARGV, 2 do
  local w = redis.call('HMGET', p .. 'w:' .. ARGV[i], 'gen', 'recall')
  if w[1] == ARGV[i + 1] then
    redis.call('ZADD', p .. 'lease', lease_end, ARGV[i])
    out[#out + 1] = w[2] and 'recalled' or 'held'
  else
    out[#out + 1] = unheld(w[1], ARGV[i + 1])
  end
end
return out
