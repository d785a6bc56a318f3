-- Whether a call whose reply was lost has been applied; from now on it never will be.
--
-- KEYS[1]  its marker
-- ARGV[1]  its number, in 16 digits
-- Returns  the marker, if it is of this call or of a later one; else false: it was not applied, and where it still comes, out
--          of the buffer of a server that stood still, it is refused
--
-- Asked twice it says the same: a number with nothing behind it is a call that was given up.

local marked = redis.call('GET', KEYS[1])
if marked and marked >= ARGV[1] then
  return marked
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', '86400')
return false
