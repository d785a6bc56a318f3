-- How long a denied caller waits.
--
-- row   of a tariff: kind, with its free_at; key, where its counter is among those of the caller; max; later, nil or pairs: the
--       instant from which it has another max, and that max; shadow_until, 0 where it is enforced
-- seen  of a counter: used; cost, what the caller takes of it; exceeded; retry; more, whether some of it goes back by the next
--       call (lib/holds)

-- The first instant not before `at` from which the limit admits, with the max that is in force by then; nil if it never does.
local function wait_admits(key, row, seen, at, now)
  local since, max, cost, later = at, row.max, seen.cost, row.later
  for l = 1, later and #later + 1 or 1, 2 do
    local till, room = later and later[l], max - cost
    if room >= 0 then
      local next_call = seen.used <= room and now or seen.more and now + 1
      local free = max_of(since, next_call or row.kind.free_at(key, row, seen, room, now))
      if not till or free < till then
        return free
      end
    end
    if till then
      since, max = max_of(at, till), later[l + 1]
    end
  end
  return nil
end

-- Until a limit admits; -1 if it never does.
local function wait_for(key, row, seen, now)
  local at = wait_admits(key, row, seen, now, now)
  return at and at - now or -1
end

-- Where a max or a shadow changes: what denies for the longest time waits until each limit admits, or is in shadow still.
local function wait_truly(tariff, keys, before, now)
  local at, earlier = now, -1
  while at and at > earlier do
    earlier = at
    for c = 1, tariff.n do
      local row = tariff.rows[c]
      if at and row.cost > 0 and at >= row.shadow_until then
        at = wait_admits(keys[before + row.key], row, row.seen, at, now)
      end
    end
  end
  local longest = 0
  for c = 1, tariff.n do
    local row = tariff.rows[c]
    if row.seen.exceeded and not row.shadow then
      longest = row.seen.retry < 0 and math.huge or max_of(longest, row.seen.retry)
    end
  end
  for c = 1, tariff.n do
    local row = tariff.rows[c]
    if row.seen.exceeded and not row.shadow and (row.seen.retry == longest or row.seen.retry < 0) then
      row.seen.retry = at and at - now or -1
    end
  end
end
