-- Decides over all limits of one request in one atomic step: all are charged, or none is.
--
-- KEYS[c]     the counter of charge c; all of them in one slot
-- ARGV[1, 2]  since, until: the instants (ms) between which the charges are what they are given as
-- ARGV[3 ..]  six a charge: kind, cost, max, shadow ("1" or "0"), first, second
--               rate         "r"  window (ms), sub-windows        -> hash: h newest sub-window, s sum, 0 .. k counts
--               quota        "q"  start and end of the period     -> hash: n count, t last charge, e end (for the expiry)
--               concurrency  "c"  lease (ms), lease id            -> sorted set: lease ids by their expiry
-- ARGV[..]    three for each later max of a charge: c, the instant from which it holds, the max
-- Returns     {now} if now is outside of since .. until: nothing was done, ask again for this instant; or
--             {now, allowed, and four a charge: exceeded, used, reset_after, retry_after (-1: never)}
--
-- Whole numbers below 2^53 throughout. Everything is read before anything is written: an error does not undo a write.
-- A denied request writes nothing, but for the repairs of counters after a clock that was far ahead.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now < tonumber(ARGV[1]) or now >= tonumber(ARGV[2]) then
  return {now}
end

local call, floor, ceil = redis.call, math.floor, math.ceil
local charges = #KEYS
local kinds, costs, maxes, firsts, seconds = {}, {}, {}, {}, {}
local useds, exceededs = {}, {}
local currents, newests, slots = {}, {}, {} -- of a rate: the sub-window to charge, the newest charged, the count in it
local charged_ats, kept_untils = {}, {} -- of a quota
local allowed = 1

-- The sub-window i of a window W in k parts has left it at start(i + k + 1).
local function leaves(i, W, k)
  return ceil((i + k + 1) * W / k)
end

-- The slots of the sub-windows between two.
local function between(newest, current, R)
  local skipped = {}
  for i = newest + 1, current - 1 do
    skipped[#skipped + 1] = i % R
  end
  return unpack(skipped)
end

-- Sets used, the newest sub-window (nil: none counts), the one to charge, and its count.
local function view_rate(c, key, W, k)
  local R = k + 1
  local current = floor(now * k / W)
  local fields = call('HMGET', key, 'h', 's', current % R)
  local newest, sum, slot = tonumber(fields[1]), tonumber(fields[2]), tonumber(fields[3]) or 0
  if not newest then
    currents[c], useds[c], slots[c] = current, 0, 0
    return
  end
  if newest - current > R then -- the clock went back by more than the ring holds: count everything as of now
    call('DEL', key)
    call('HSET', key, 'h', current, 's', sum, current % R, sum)
    call('PEXPIRE', key, leaves(current, W, k) - now + 1000)
    newest, slot = current, sum
  end
  local used = sum
  if current < newest then -- the clock went back a little: count into the newest
    current = newest
    slot = tonumber(call('HGET', key, newest % R)) or 0
  elseif current - newest >= R then
    used, slot = 0, 0
  elseif current > newest then
    used, slot = used - slot, 0
    if current > newest + 1 then
      for _, count in ipairs(call('HMGET', key, between(newest, current, R))) do
        used = used - (tonumber(count) or 0)
      end
    end
  end
  useds[c], newests[c], currents[c], slots[c] = used, newest, current, slot
end

local function view_quota(c, key, period_start, period_end)
  local fields = call('HMGET', key, 'n', 't', 'e')
  local charged_at = tonumber(fields[2]) or -1
  if charged_at >= 2 * period_end - period_start then -- more than a period ahead: it is the count of this one
    charged_at = now
    call('HSET', key, 't', now, 'e', period_end)
    call('PEXPIRE', key, period_end - now + 1000)
    fields[3] = period_end
  end
  useds[c] = charged_at >= period_start and tonumber(fields[1]) or 0
  charged_ats[c], kept_untils[c] = charged_at, tonumber(fields[3]) or 0
end

-- A lease id ends with the length of the lease: "/60000".
local function view_concurrency(c, key, max, lease)
  useds[c] = call('ZCOUNT', key, now + 1, '+inf')
  if useds[c] < max or call('ZCOUNT', key, now + 2 * lease + 1, '+inf') == 0 then
    return
  end
  local longest, ahead = 0, call('ZRANGEBYSCORE', key, now + 2 * lease + 1, '+inf', 'WITHSCORES')
  for l = 1, #ahead, 2 do
    local own = tonumber(string.match(ahead[l], '/(%d+)$')) or lease
    if tonumber(ahead[l + 1]) > now + 2 * math.max(own, lease) then -- the clock went back: a lease from now on
      call('ZADD', key, now + own, ahead[l])
      longest = math.max(longest, own)
    end
  end
  if longest > 0 and call('PTTL', key) < longest + 1000 then
    call('PEXPIRE', key, longest + 1000)
  end
end

local function charge_rate(c, key, cost, W, k)
  local R = k + 1
  local newest, current = newests[c], currents[c]
  if newest == current then
    call('HSET', key, 's', useds[c] + cost, current % R, slots[c] + cost)
    return
  end
  if newest and current - newest >= R then
    call('DEL', key)
  elseif newest and current > newest + 1 then -- slots that were skipped hold counts that have left
    call('HDEL', key, between(newest, current, R))
  end
  call('HSET', key, 'h', current, 's', useds[c] + cost, current % R, cost)
  call('PEXPIRE', key, leaves(current, W, k) - now + 1000)
  newests[c] = current
end

local function charge_quota(c, key, cost, period_end)
  local charged_at = charged_ats[c] > now and charged_ats[c] or now
  if period_end > kept_untils[c] then
    call('HSET', key, 'n', useds[c] + cost, 't', charged_at, 'e', period_end)
    call('PEXPIRE', key, period_end - now + 1000)
  else
    call('HSET', key, 'n', useds[c] + cost, 't', charged_at)
  end
end

local function charge_concurrency(key, lease, id)
  call('ZREMRANGEBYSCORE', key, '-inf', now)
  call('ZADD', key, now + lease, id)
  if call('PTTL', key) < lease + 1000 then
    call('PEXPIRE', key, lease + 1000)
  end
end

-- From the oldest sub-window on, until at most `room` units are left: the instant at which the last of those leaves.
local function free_at_rate(c, key, room, W, k)
  local R, counts = k + 1, {}
  local fields = call('HGETALL', key)
  for f = 1, #fields, 2 do
    counts[fields[f]] = tonumber(fields[f + 1])
  end
  local used, oldest = useds[c], currents[c] - k
  used = used - (counts[string.format('%d', oldest % R)] or 0)
  while used > room and oldest < newests[c] do -- bounded also over a hash that somebody else damaged
    oldest = oldest + 1
    used = used - (counts[string.format('%d', oldest % R)] or 0)
  end
  return leaves(oldest, W, k)
end

-- The instant from which at most `room` units count.
local function free_at(c, key, kind, room, first, second)
  if useds[c] <= room then
    return now
  elseif kind == 'r' then
    return free_at_rate(c, key, room, first, second)
  elseif kind == 'q' then
    return second
  end
  return now + 1000 -- a slot can free at any time
end

-- Until the limit admits, with the max that is in force by then; -1 if it never does.
local function retry_after(c, key, kind, cost, first, second)
  local since, max = now, maxes[c]
  for a = 6 * charges + 3, #ARGV, 3 do
    if tonumber(ARGV[a]) == c then
      local till = tonumber(ARGV[a + 1])
      local at = cost <= max and math.max(since, free_at(c, key, kind, max - cost, first, second))
      if at and at < till then
        return at - now
      end
      since, max = till, tonumber(ARGV[a + 2])
    end
  end
  return cost <= max and math.max(since, free_at(c, key, kind, max - cost, first, second)) - now or -1
end

for c = 1, charges do
  local a = 6 * c - 3
  local key, kind, cost, max = KEYS[c], ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  kinds[c], costs[c], maxes[c], firsts[c], seconds[c] = kind, cost, max, tonumber(ARGV[a + 4]), ARGV[a + 5]
  if kind == 'r' then
    seconds[c] = tonumber(seconds[c])
    view_rate(c, key, firsts[c], seconds[c])
  elseif kind == 'q' then
    seconds[c] = tonumber(seconds[c])
    view_quota(c, key, firsts[c], seconds[c])
  else
    view_concurrency(c, key, max, firsts[c])
  end
  exceededs[c] = cost > 0 and useds[c] > max - cost and 1 or 0 -- never used + cost: it may pass 2^53
  if exceededs[c] == 1 and ARGV[a + 3] == '0' then
    allowed = 0
  end
end

local reply = {now, allowed}
for c = 1, charges do
  local key, kind, cost, first, second = KEYS[c], kinds[c], costs[c], firsts[c], seconds[c]
  local exceeded, reset, retry = exceededs[c], 0, 0
  if exceeded == 1 then
    retry = retry_after(c, key, kind, cost, first, second)
  elseif allowed == 1 and cost > 0 then
    if kind == 'r' then
      charge_rate(c, key, cost, first, second)
    elseif kind == 'q' then
      charge_quota(c, key, cost, second)
    else
      charge_concurrency(key, first, second)
    end
    useds[c] = useds[c] + cost
  end
  if kind == 'q' then
    reset = second - now
  elseif useds[c] > 0 then
    reset = kind == 'r' and leaves(newests[c], first, second) - now or first
  end
  local r = 4 * c - 1
  reply[r], reply[r + 1], reply[r + 2], reply[r + 3] = exceeded, useds[c], reset, retry
end
return reply
