-- A rate: a strict sliding window, as a ring of counts in a hash.

-- The slots of the sub-windows between two.
local function between(newest, current, R)
  local skipped = {}
  for i = newest + 1, current - 1 do
    skipped[#skipped + 1] = i % R
  end
  return unpack(skipped)
end

local function view_rate(c, key, r)
  local current, W, k = currents[r], firsts[r], seconds[r]
  local fields = call('HMGET', key, 'h', 's', slot_names[r])
  local sum = tonumber(fields[2])
  if fields[1] == current_texts[r] then -- most often: charged in this sub-window before
    useds[c], newests[c], targets[c], slots[c] = sum, current, current, tonumber(fields[3]) or 0
    return
  end
  local newest, slot, R = tonumber(fields[1]), tonumber(fields[3]) or 0, k + 1
  if not newest then
    useds[c], newests[c], targets[c], slots[c] = 0, nil, current, 0
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
  useds[c], newests[c], targets[c], slots[c] = used, newest, current, slot
end

local function charge_rate(c, key, cost, r)
  local newest, target = newests[c], targets[c]
  local used = useds[c] + cost
  useds[c] = used
  if newest == target then
    call('HSET', key, 's', used, target == currents[r] and slot_names[r] or target % (seconds[r] + 1), slots[c] + cost)
    return
  end
  local R = seconds[r] + 1
  if newest and target - newest >= R then
    call('DEL', key)
  elseif newest and target > newest + 1 then -- slots that were skipped hold counts that have left
    call('HDEL', key, between(newest, target, R))
  end
  call('HSET', key, 'h', target, 's', used, slot_names[r], cost)
  call('PEXPIRE', key, leaves(target, firsts[r], seconds[r]) - now + 1000)
  newests[c] = target
end

-- From the oldest sub-window on, until at most `room` units are left: the instant at which the last of those leaves.
local function free_at_rate(c, key, room, r)
  local W, k = firsts[r], seconds[r]
  local R, counts = k + 1, {}
  local fields = call('HGETALL', key)
  for f = 1, #fields, 2 do
    counts[fields[f]] = tonumber(fields[f + 1])
  end
  local used, oldest = useds[c], targets[c] - k
  used = used - (counts[string.format('%d', oldest % R)] or 0)
  while used > room and oldest < newests[c] do -- bounded also over a hash that somebody else damaged
    oldest = oldest + 1
    used = used - (counts[string.format('%d', oldest % R)] or 0)
  end
  return leaves(oldest, W, k)
end
