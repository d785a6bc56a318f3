-- What a caller may be charged ahead.

-- How often more a caller may be charged ahead: an eighth of what is left of each limit, and nothing near the limit.
local function charges_ahead(wanted, row, n)
  for c = 1, n do
    if costs[row + c] > 0 then
      wanted = min_of(wanted, floor((maxes[row + c] - useds[c] - costs[row + c]) / 8 / costs[row + c]))
    end
  end
  return max_of(wanted, 0)
end

-- Units ahead die with the sub-window in which they were counted; of a quota by itself within a second.
local function spendable_for(row, n)
  local till = now + 1000
  for c = 1, n do
    local r = row + c
    till = min_of(till, kinds[r] == 'r' and ceil((currents[r] + 1) * firsts[r] / seconds[r]) or seconds[r])
  end
  return till - now
end
