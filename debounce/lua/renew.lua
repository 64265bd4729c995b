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
  local b = redis.call('HGET', p .. 'w:' .. ARGV[i], 'b')
  local lease, recalled
  if b then lease, recalled = string.match(b, '^%d+ (%d+) (%d)') end
  if lease == ARGV[i + 1] then
    redis.call('ZADD', p .. 'lease', lease_end, ARGV[i])
    out[#out + 1] = recalled == '1' and 'recalled' or 'held'
  else
    out[#out + 1] = unheld(lease, ARGV[i + 1])
  end
end
return out
