-- A concurrency cap: lease ids by their expiry, as a sorted set. An id ends with the length of its lease: "/60000".
--
-- row   of a tariff: first, the lease (ms); lease, which of the caller's lease ids is for it
-- seen  of a counter: used

local function slots_keep(key, id, lease, now)
  call('ZADD', key, now + lease, id)
  if call('PTTL', key) < lease + 1000 then
    call('PEXPIRE', key, lease + 1000)
  end
end

local function slots_drop_expired(key, now)
  call('ZREMRANGEBYSCORE', key, '-inf', now)
end

local function slots_view(key, row, seen, now)
  local lease = row.first
  local used = call('ZCOUNT', key, now + 1, '+inf')
  seen.used = used
  if used < row.max or call('ZCOUNT', key, now + 2 * lease + 1, '+inf') == 0 then
    return
  end
  local longest, far = 0, call('ZRANGEBYSCORE', key, now + 2 * lease + 1, '+inf', 'WITHSCORES')
  for l = 1, #far, 2 do
    local own = tonumber(string.match(far[l], '/(%d+)$')) or lease
    if tonumber(far[l + 1]) > now + 2 * max_of(own, lease) then -- the clock went back: a lease from now on
      call('ZADD', key, now + own, far[l])
      longest = max_of(longest, own)
    end
  end
  if longest > 0 and call('PTTL', key) < longest + 1000 then
    call('PEXPIRE', key, longest + 1000)
  end
end

local function slots_charge(key, row, seen, id, now)
  slots_drop_expired(key, now)
  slots_keep(key, id, row.first, now)
  seen.used = seen.used + 1
end

local function slots_free_at(_, _, _, _, now)
  return now + 1000 -- a slot can free at any time
end

local function slots_reset(row, seen)
  return seen.used > 0 and row.first or 0
end
