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

-- Units ahead die with the sub-window in which they were counted, and with what their limits are given as: the period of
-- a quota, a max that ends. A whole second at most, so that what goes back is not missed for long.
local function spendable_for(s, row, n)
  local till = min_of(now - now % 1000 + 1000, untils[s])
  for r = row + 1, row + n do
    if kinds[r] == 'r' then
      till = min_of(till, ceil((currents[r] + 1) * firsts[r] / seconds[r]))
    end
  end
  return till - now
end
