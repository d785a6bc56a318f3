-- Who was charged, for the marker: the instant (ms), and of whom, unless it was everybody with nothing ahead: how many keys
-- come before those of the caller, and ":" and how often it was charged ahead.
--
-- ARGV  one more, the last: how many callers there are

local everybody = tonumber(table.remove(ARGV))
local noted, charged, nothing_ahead = {}, 0, true
local plainly = decide
local function decide(s, before, leases, wanted)
  local taken = plainly(s, before, leases, wanted)
  if taken then
    charged = charged + 1
    noted[charged] = before
    if taken > 0 then
      noted[charged], nothing_ahead = string.format('%d:%d', before, taken), false
    end
  end
end
