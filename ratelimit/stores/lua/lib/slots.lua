-- A concurrency cap: lease ids by their expiry, as a sorted set. An id ends with the length of its lease: "/60000".
--
-- row   of a tariff: first, the lease (ms); lease, which of the caller's lease ids is for it
-- seen  of a counter: used; charged, the lease id that was added, false until it is

-- The expiry of a key that is there comes first: by itself it does no harm.
local function slots_keep(key, id, lease, now)
  local ttl = call('PTTL', key)
  if ttl ~= -2 and ttl < lease + 1000 then
    call('PEXPIRE', key, lease + 1000)
  end
  call('ZADD', key, now + lease, id)
  if ttl == -2 then
    call('PEXPIRE', key, lease + 1000)
  end
end

local function slots_drop_expired(key, now)
  call('ZREMRANGEBYSCORE', key, '-inf', now)
end

local function slots_view(key, row, seen, now, writes)
  local lease = row.first
  local used = call('ZCOUNT', key, now + 1, '+inf')
  seen.used = used
  if not writes or used < row.max or call('ZCOUNT', key, now + 2 * lease + 1, '+inf') == 0 then
    return
  end
  local far = call('ZRANGEBYSCORE', key, now + 2 * lease + 1, '+inf', 'WITHSCORES')
  for l = 1, #far, 2 do
    local own = tonumber(string.match(far[l], '/(%d+)$')) or lease
    if tonumber(far[l + 1]) > now + 2 * max_of(own, lease) then -- the clock went back: a lease from now on
      slots_keep(key, far[l], own, now)
    end
  end
end

local function slots_charge(key, row, seen, id, now)
  slots_drop_expired(key, now)
  seen.used, seen.charged = seen.used + 1, id
  slots_keep(key, id, row.first, now)
end

local function slots_undo(key, _, seen)
  call('ZREM', key, seen.charged)
end

local function slots_counted(_, _, now)
  return now
end

local function slots_free_at(_, _, _, _, now)
  return now + 1000 -- a slot can free at any time
end

local function slots_reset(row, seen)
  return seen.used > 0 and row.first or 0
end
