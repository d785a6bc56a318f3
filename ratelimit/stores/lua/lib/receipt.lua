-- A call that is applied at most once, and of which it can be asked later whether it was.
--
-- Its marker, a key of the process that asks, holds the number of the last call that changed anything, and what it did. Numbers
-- have 16 digits, so that texts compare as numbers do.

-- Whether this call, or a later one, is known not to be applied any more.
local function receipt_fenced(marker, number)
  local marked = call('GET', marker)
  return marked and marked >= number
end

local function receipt_refusal()
  return redis.error_reply('FENCED it was given up before it came')
end

-- Where something was changed: then no write is refused any more. A day is longer than an outage.
local function receipt_mark(marker, number, what)
  redis.pcall('SET', marker, number .. ' ' .. what, 'EX', '86400') -- an error would say that nothing was done
end
