-- Who was charged, for the marker.

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
