-- A rate: a strict sliding window, as a ring of counts in a hash: h, the newest sub-window charged; s, the sum; and the
-- count of sub-window i in field i % R, where R is one more than the sub-windows of a window.
--
-- row   of a tariff: first, the window (ms); second, how many sub-windows it has; and by rate_row: current, the sub-window
--       to count in; h and slot, the same and the field of its count as texts, which cost a command half of what numbers do
-- seen  of a counter: used; newest, the sub-window charged last, nil where there is none; target, the one to charge;
--       count, what is in it by now; charged, the units that were counted, false until they are; repaired, true where the
--       clock went far back; where nothing may be written: fields, what the repair would have written, and back, what was
--       given back by the field of its sub-window
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
  return unpack(skipped)
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
  local sum = tonumber(fields[2])
  if fields[1] == row.h then -- most often: charged in this sub-window before
    seen.used, seen.newest, seen.target, seen.count = sum, current, current, tonumber(fields[3]) or 0
    return
  end
  local newest, count, R = tonumber(fields[1]), tonumber(fields[3]) or 0, row.second + 1
  if not fields[1] then
    seen.used, seen.newest, seen.target, seen.count = 0, nil, current, 0
    return
  elseif not (newest and newest >= 0 and sum) then
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
  local used, target = sum, current
  if newest > current then -- the clock went back a little: count into the newest
    target = newest
    count = tonumber(call('HGET', key, newest % R)) or 0
  elseif current - newest >= R then
    used, count = 0, 0
  elseif current > newest then
    used, count = used - count, 0
    if current > newest + 1 then
      for _, left in ipairs(call('HMGET', key, rate_between(newest, current, R))) do
        used = used - (tonumber(left) or 0)
      end
    end
  end
  seen.used, seen.newest, seen.target, seen.count = used, newest, target, count
end

local function rate_charge(key, row, seen, units, now)
  local newest, target, used, R = seen.newest, seen.target, seen.used + units, row.second + 1
  if newest == target then
    call('HSET', key, 's', used, target == row.current and row.slot or target % R, seen.count + units)
    seen.used, seen.charged = used, units
  elseif not newest or target - newest >= R then
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
    if target > newest + 1 then -- fields that were skipped hold counts that have left
      call('HDEL', key, rate_between(newest, target, R))
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
