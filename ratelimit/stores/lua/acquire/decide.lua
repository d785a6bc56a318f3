-- All or nothing: of a caller all limits are charged, or none is.

local views = {r = view_rate, q = view_quota, c = view_concurrency}

-- Of the caller whose keys come after `before`, and whose lease ids after `leases`. Returns how often it was charged ahead,
-- or false where it was denied.
local function decide(s, before, leases, wanted)
  local row, n, allowed, clean = rows_before[s], charge_counts[s], true, true
  for c = 1, n do
    local r = row + c
    local cost = costs[r]
    views[kinds[r]](c, KEYS[before + c], r)
    local exceeded = cost > 0 and useds[c] > maxes[r] - cost -- never used + cost: it may pass 2^53
    exceededs[c] = exceeded
    if exceeded then
      allowed, clean = allowed and shadows[r], false
    elseif kinds[r] == 'r' and targets[c] > currents[r] then -- the clock went back a little
      clean = false
    end
  end

  local taken, spendable = 0, 0
  if ahead[s] and clean then
    spendable = spendable_for(s, row, n)
    taken = spendable > WORTH_MS and charges_ahead(wanted, row, n) or 0
  end
  for c = 1, n do
    local r, key = row + c, KEYS[before + c]
    if exceededs[c] then
      retries[c] = retry_after(s, c, key, r)
    elseif allowed and costs[r] > 0 then
      if kinds[r] == 'r' then
        charge_rate(c, key, costs[r] * (1 + taken), r)
      elseif kinds[r] == 'q' then
        charge_quota(c, key, costs[r] * (1 + taken), r)
      else
        charge_concurrency(c, key, r, ARGV[leases + lease_numbers[r]])
      end
    end
  end

  if clean and plain[s] then
    reply[replied + 1] = 1
    replied = replied + 1
    for c = 1, n do
      reply[replied + c] = useds[c]
    end
    replied = replied + n
  else
    reply[replied + 1] = allowed and 2 or 0
    replied = replied + 1
    for c = 1, n do
      local r, reset = row + c, 0
      if kinds[r] == 'q' then
        reset = seconds[r] - now
      elseif useds[c] > 0 then
        reset = kinds[r] == 'r' and leaves(newests[c], firsts[r], seconds[r]) - now or firsts[r]
      end
      reply[replied + 1], reply[replied + 2] = exceededs[c] and 1 or 0, useds[c]
      reply[replied + 3], reply[replied + 4] = reset, exceededs[c] and retries[c] or 0
      replied = replied + 4
    end
  end
  if ahead[s] and allowed then
    reply[replied + 1], reply[replied + 2] = taken, spendable
    replied = replied + 2
  end
  return allowed and taken
end
