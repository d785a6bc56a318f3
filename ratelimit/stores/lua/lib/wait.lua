-- How long a denied caller waits.
--
-- row   of a tariff: kind, with its free_at; cost; max; shadow; shadow_till, until when it denies nobody; later, nil or pairs:
--       the instant from which it has another max, and that max
-- seen  of a counter: used; exceeded; retry, how long (ms) until the limit admits, -1 if it never does

-- The instant from which at most `room` units count.
local function wait_free_at(key, row, seen, room, now)
  return seen.used <= room and now or row.kind.free_at(key, row, seen, room, now)
end

-- The first instant not before `at` from which the limit admits, with the max that is in force by then; nil if it never does.
local function wait_admits(key, row, seen, now, at)
  local since, max, cost, later = now, row.max, row.cost, row.later or {}
  for l = 1, #later + 1, 2 do
    local till = later[l] or math.huge
    local free = cost <= max and max_of(at, since, wait_free_at(key, row, seen, max - cost, now))
    if free and free < till then
      return free
    end
    since, max = till, later[l + 1]
  end
  return nil
end

local function wait_for(key, row, seen, now)
  local at = wait_admits(key, row, seen, now, now)
  return at and at - now or -1
end

-- The first instant at which each limit admits or is still in shadow; nil if that never comes.
local function wait_all_admit(keys, before, rows, now)
  local at, since = now, -1
  while at > since do
    since = at
    for c, row in ipairs(rows) do
      if row.cost > 0 and at >= row.shadow_till then
        at = wait_admits(keys[before + c], row, row.seen, now, at)
        if not at then
          return nil
        end
      end
    end
  end
  return at
end

-- What denies for the longest time says when the request passes, whichever limit denies it last.
local function wait_true_then(keys, before, rows, now)
  local at, longest = wait_all_admit(keys, before, rows, now), 0
  local wait = at and at - now or -1
  local function denying(row)
    return row.seen.exceeded and not row.shadow
  end
  for _, row in ipairs(rows) do
    if denying(row) and longest >= 0 then
      longest = row.seen.retry < 0 and -1 or max_of(longest, row.seen.retry)
    end
  end
  for _, row in ipairs(rows) do
    if denying(row) and row.seen.retry == longest then
      row.seen.retry = wait
    end
  end
end
