-- A rate: a strict sliding window, as a ring of counts in a hash: h, the newest sub-window charged; s, the sum; and the
-- count of sub-window i in field i % R, where R is one more than the sub-windows of a window.
--
-- row   of a tariff: first, the window (ms); second, how many sub-windows it has; and by rate_row: current, the sub-window
--       to count in; h and slot, the same and the field of its count as texts, which cost a command half of what numbers do
-- seen  of a counter: used; newest, the sub-window charged last, nil where there is none; target, the one to charge;
--       count, what is in it by now; left, nil or the fields between these two that hold counts which have left; charged, the
--       units that were counted, false until they are; repaired, true where the clock went far back; where nothing may be
--       written: fields, what the repair would have written, and back, what was given back by the field of its sub-window
--
-- An expiry by itself does no harm, so that of a key that is there comes first: then nothing but a count can be left half
-- done, and rate_undo takes that back.

-- When sub-window i of a window W in k parts has left it: start(i + k + 1).
local function rate_leaves(i, W, k)
  return ceil((i + k + 1) * W / k)
end

local function rate_at(now, row)
  return floor(now * row.second / row.first)
end

local function rate_row(row, current)
  row.current, row.h, row.slot = current, string.format('%d', current), string.format('%d', current % (row.second + 1))
end

local function rate_prepare(row, now)
  rate_row(row, rate_at(now, row))
end

-- The fields of the sub-windows between two.
local function rate_between(newest, target, R)
  local skipped = {}
  for i = newest + 1, target - 1 do
    skipped[#skipped + 1] = i % R
  end
  return skipped
end

local function rate_expires(key, row, target, now)
  call('PEXPIRE', key, rate_leaves(target, row.first, row.second) - now + 1000)
end

-- The clock went back by more than the ring holds: everything counts as of now. Each command is tried before the first that
-- can't be taken back.
local function rate_repair(key, row, sum, now)
  rate_expires(key, row, row.current, now)
  call('HSET', key, 's', sum)
  call('DEL', key)
  call('HSET', key, 'h', row.h, 's', sum, row.slot, sum)
  rate_expires(key, row, row.current, now)
end

local function rate_view(key, row, seen, now, writes)
  local current = row.current
  if not writes then
    seen.fields, seen.back = nil, nil
  end
  local fields = call('HMGET', key, 'h', 's', row.slot)
  local newest, sum, count = fields[1], fields[2], fields[3] or 0
  if newest == row.h then -- most often: charged in this sub-window before
    seen.used, seen.newest, seen.target, seen.count = sum + 0, current, current, count + 0
    return
  elseif not newest then
    seen.used, seen.newest, seen.target, seen.count = 0, nil, current, 0
    return
  end
  newest, sum, count = newest + 0, sum + 0, count + 0
  local used, target, R, left = sum, current, row.second + 1, nil
  if newest < 0 or newest ~= newest then -- or "nan"
    whole_refuse()
  elseif newest - current > R then
    if writes then
      rate_repair(key, row, sum, now)
    else
      seen.fields = {row.slot, sum}
    end
    seen.repaired = true
    newest, count = current, sum
  end
  if newest > current then -- the clock went back a little: count into the newest
    target = newest
    count = tonumber(call('HGET', key, newest % R)) or 0
  elseif current - newest >= R then
    used, count = 0, 0
  elseif current > newest then
    used, count = used - count, 0
    if current > newest + 1 then
      local skipped = rate_between(newest, current, R)
      local counts = call('HMGET', key, unpack(skipped))
      for i = 1, #skipped do
        if counts[i] then
          used = used - (tonumber(counts[i]) or 0)
          left = left or {}
          left[#left + 1] = skipped[i]
        end
      end
    end
  end
  seen.used, seen.newest, seen.target, seen.count, seen.left = used, newest, target, count, left
end

local function rate_charge(key, row, seen, units, now)
  local newest, target, used = seen.newest, seen.target, seen.used + units
  if newest == target then
    call('HSET', key, 's', used, target == row.current and row.slot or target % (row.second + 1), seen.count + units)
    seen.used, seen.charged = used, units
    return
  end
  local R = row.second + 1
  if not newest or target - newest >= R then
    if newest then
      call('DEL', key)
    end
    call('HSET', key, 'h', row.h, 's', used, row.slot, units)
    seen.used, seen.charged = used, units
    rate_expires(key, row, target, now)
  else
    rate_expires(key, row, target, now)
    call('HSET', key, 'h', row.h, 's', used, row.slot, units)
    seen.used, seen.charged = used, units
    if seen.left then
      call('HDEL', key, unpack(seen.left))
    end
  end
end

-- After rate_charge, or half of it. Zeros are as good as no fields; a ring whose newest is sub-window 0 is void.
local function rate_undo(key, row, seen)
  local newest, target, R = seen.newest, seen.target, row.second + 1
  if newest and target - newest < R then
    local zeros = {}
    for i = newest + 1, target - 1 do
      zeros[#zeros + 1] = i % R
      zeros[#zeros + 1] = 0
    end
    call('HSET', key, 's', seen.used - seen.charged, target % R, seen.count, unpack(zeros))
  elseif type(redis.pcall('DEL', key)) == 'table' then
    call('HSET', key, 'h', 0, 's', 0, row.slot, 0)
  end
end

-- Writes what is in a sub-window that the ring has, and the sum with it.
local function rate_write(key, sum, field, count)
  call('HSET', key, 's', sum, field, count)
end

-- Of what is charged: the instant in whose sub-window it counts.
local function rate_counted(row, seen, now)
  return seen.target > row.current and ceil(seen.target * row.first / row.second) or now
end

-- From the oldest sub-window on, until at most `room` units are left: the instant at which the last of those leaves.
local function rate_free_at(key, row, seen, room)
  local W, k = row.first, row.second
  local R, counts = k + 1, {}
  local fields, back = seen.fields or call('HGETALL', key), seen.back
  for f = 1, #fields, 2 do
    counts[fields[f]] = tonumber(fields[f + 1]) - (back and back[fields[f]] or 0)
  end
  local used, oldest = seen.used, seen.target - k
  used = used - (counts[string.format('%d', oldest % R)] or 0)
  while used > room and oldest < seen.newest do -- bounded also over a hash that somebody else damaged
    oldest = oldest + 1
    used = used - (counts[string.format('%d', oldest % R)] or 0)
  end
  return rate_leaves(oldest, W, k)
end

local function rate_reset(row, seen, now)
  return seen.used > 0 and rate_leaves(seen.charged and seen.target or seen.newest, row.first, row.second) - now or 0
end
