-- A call that is applied at most once, and of which it can be asked later whether it was.
--
-- KEYS     one more, the last: the marker of the process that asks, in the slot of the others
-- ARGV     two more, the last: how many callers there are, and the number of the call, in 16 digits, so that texts compare
--          as numbers do
-- Returns  an error where the call, or a later one, is known not to be applied any more: then nothing was done
--
-- The marker holds the number of the last call that charged anybody, the instant (ms) at which it did, and of whom, unless
-- it was everybody with nothing ahead: how many keys come before those of the caller, and ":" and how often it was charged
-- ahead.

local marker, number, everybody = KEYS[#KEYS], table.remove(ARGV), tonumber(table.remove(ARGV))
local marked = redis.call('GET', marker)
if marked and marked >= number then
  return redis.error_reply('FENCED it was given up before it came')
end
