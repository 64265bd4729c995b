-- renew extends a lease.
--
-- KEYS    lease, window, gen
-- ARGV    key, generation, length of the lease
-- steps   compare the generation; move the end of the lease
-- returns 'held', 'lost' or 'gone' (see common)
local current = redis.call('HGET', KEYS[2], 'gen')
if current ~= ARGV[2] then return unheld(KEYS[3], current, ARGV[2]) end
redis.call('ZADD', KEYS[1], int(clock() + ARGV[3]), ARGV[1])
return 'held'
