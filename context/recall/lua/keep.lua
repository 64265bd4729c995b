-- Keeps a memory unless a newer or longer-lived one is there.
--
-- KEYS[1]  the memory of one agent and context
-- ARGV[1]  when its run completed, in µs since 1970
-- ARGV[2]  the value: ARGV[1], a newline, JSON
-- ARGV[3]  its life in ms, positive
--
-- A value that is there stays if its run completed later, or at the same time
-- and it lives at least as long. What is there but not understood is replaced.
--
-- Returns 1 if the value was written, 0 if not.
local there = redis.call('GET', KEYS[1])
if there then
  local digits = string.match(there, '^%d+')
  if digits then
    local at, new = tonumber(digits), tonumber(ARGV[1])
    if at > new or (at == new and redis.call('PTTL', KEYS[1]) >= tonumber(ARGV[3])) then
      return 0
    end
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
