-- How long a denied caller waits.

-- The instant from which at most `room` units count.
local function free_at(c, key, room, r)
  if useds[c] <= room then
    return now
  elseif kinds[r] == 'r' then
    return free_at_rate(c, key, room, r)
  elseif kinds[r] == 'q' then
    return seconds[r]
  end
  return now + 1000 -- a slot can free at any time
end

-- Until the limit admits, with the max that is in force by then; -1 if it never does.
local function retry_after(s, c, key, r)
  local since, max, cost = now, maxes[r], costs[r]
  for a = first_later[s], last_later[s], 3 do
    if tonumber(ARGV[a]) == c then
      local till = tonumber(ARGV[a + 1])
      local at = cost <= max and max_of(since, free_at(c, key, max - cost, r))
      if at and at < till then
        return at - now
      end
      since, max = till, tonumber(ARGV[a + 2])
    end
  end
  return cost <= max and max_of(since, free_at(c, key, max - cost, r)) - now or -1
end
