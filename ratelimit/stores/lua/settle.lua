-- Charges what was admitted without the store, or gives back what was charged for nothing, where it was counted by then.
--
-- KEYS[i]  the counter of item i; several items may be of one counter; all of them are in one slot; the last is of fence.lua
-- ARGV     five an item: "r" or "q", the units (below 0: to give back), then of a rate its window (ms), its sub-windows and
--          the sub-window, of a quota the start and the end of its period (ms), and 0
-- Returns  now, then for each item: 1 done, 0 it no longer counts, 2 its period has not begun by this clock: nothing was
--          done, ask again; or why this counter can't be read or written
--
-- The limit is not looked at: what was admitted was used, also above the max. No more is given back than is there. The marker
-- has a digit an item: 3 is one that failed.

local call, floor = redis.call, math.floor
local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

local function settle_rate(key, units, W, k, sub_window)
  local R, current = k + 1, floor(now * k / W)
  local fields = call('HMGET', key, 'h', 's')
  local newest, sum = tonumber(fields[1]), tonumber(fields[2]) or 0
  local target = math.min(sub_window, math.max(current, newest or 0)) -- by this clock it was admitted by now
  if math.max(current, newest or 0) - target >= R then
    return 0
  end
  local slot = string.format('%d', target % R)
  if units < 0 then
    local count = newest and target <= newest and tonumber(call('HGET', key, slot)) or 0
    units = math.max(units, -count)
    if units < 0 then
      call('HSET', key, 's', sum + units, slot, count + units)
    end
    return 1
  end
  if newest and target <= newest then
    call('HSET', key, 's', sum + units, slot, (tonumber(call('HGET', key, slot)) or 0) + units)
    return 1
  end
  if not newest then
    sum = 0
  elseif target - newest >= R then
    call('DEL', key)
    sum = 0
  else
    for i = newest + 1, target do -- what has left the ring
      sum = sum - (tonumber(call('HGET', key, i % R)) or 0)
      call('HDEL', key, i % R)
    end
  end
  call('HSET', key, 'h', target, 's', sum + units, slot, units)
  call('PEXPIRE', key, leaves(target, W, k) - now + 1000)
  return 1
end

local function settle_quota(key, units, period_start, period_end)
  if now >= period_end then
    return 0
  elseif now < period_start then
    return 2
  end
  local fields = call('HMGET', key, 'n', 't', 'e')
  local charged_at = tonumber(fields[2]) or -1
  local used = charged_at >= period_start and tonumber(fields[1]) or 0
  if units > 0 or used > 0 then
    call('HSET', key, 'n', math.max(0, used + units), 't', math.max(charged_at, now))
  end
  if units > 0 and (tonumber(fields[3]) or 0) < period_end then
    call('HSET', key, 'e', period_end)
    call('PEXPIRE', key, period_end - now + 1000)
  end
  return 1
end

local reply, digits, changed = {now}, {}, false
for i = 1, #KEYS - 1 do
  local a = 5 * i - 4
  local settle = ARGV[a] == 'r' and settle_rate or settle_quota
  local units, first, second = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local done, outcome = pcall(settle, KEYS[i], units, first, second, tonumber(ARGV[a + 4]))
  reply[i + 1] = done and outcome or (type(outcome) == 'table' and outcome.err or tostring(outcome))
  digits[i] = done and outcome or 3
  changed = changed or outcome == 1
end
if changed then
  mark(table.concat(digits))
end
return reply
