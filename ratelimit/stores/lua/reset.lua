-- Forgets counters of every kind, and what is held of them.
--
-- KEYS     the counters, at most 256 of them, each with its record (lib/holds) behind it; all of them in one slot
-- ARGV     none
-- Returns  how many counters there were

local found = 0
for k = 1, #KEYS, 2 do
  found = found + redis.call('DEL', KEYS[k])
  redis.call('DEL', KEYS[k + 1])
end
return found
