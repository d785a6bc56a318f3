-- What a counter holds: whole numbers, from 0 to 2^53 - 1.

local WHOLE_LARGEST = 2 ^ 53 - 1

-- Where it holds something else, somebody else has written it.
local function whole_refuse()
  error({err = 'WRONGTYPE a field of the counter is no whole number'})
end
