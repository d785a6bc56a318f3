-- A call that is applied at most once, and of which it can be asked later whether it was.
--
-- KEYS     one more, the last: the marker of the process that asks, in the slot of the others
-- ARGV     one more, the last: the number of the call, in 16 digits, so that texts compare as numbers do
-- Returns  an error where the call, or a later one, is known not to be applied any more: then nothing was done
--
-- The marker holds the number of the last call that changed anything, and what it did.

local marker, number = KEYS[#KEYS], table.remove(ARGV)
local marked = redis.call('GET', marker)
if marked and marked >= number then
  return redis.error_reply('FENCED it was given up before it came')
end

-- Where something was changed: then no write is refused any more. A day is longer than an outage.
local function mark(what)
  redis.pcall('SET', marker, number .. ' ' .. what, 'EX', '86400') -- an error would say that nothing was done
end
