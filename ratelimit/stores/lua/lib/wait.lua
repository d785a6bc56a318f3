-- How long a denied caller waits: until the limit admits, with the max that is in force by then; -1 if it never does.
--
-- row   of a tariff: kind, with its free_at; cost; max; later, nil or pairs: the instant from which it has another max, and
--       that max
-- seen  of a counter: used

-- The instant from which at most `room` units count.
local function wait_free_at(key, row, seen, room, now)
  return seen.used <= room and now or row.kind.free_at(key, row, seen, room, now)
end

local function wait_for(key, row, seen, now)
  local since, max, cost, later = now, row.max, row.cost, row.later
  for l = 1, later and #later or 0, 2 do
    local at = cost <= max and max_of(since, wait_free_at(key, row, seen, max - cost, now))
    if at and at < later[l] then
      return at - now
    end
    since, max = later[l], later[l + 1]
  end
  return cost <= max and max_of(since, wait_free_at(key, row, seen, max - cost, now)) - now or -1
end
