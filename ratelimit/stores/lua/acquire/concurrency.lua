-- A concurrency cap: leases by their expiry.

-- A lease id ends with the length of the lease: "/60000".
local function view_concurrency(c, key, r)
  local lease = firsts[r]
  useds[c] = call('ZCOUNT', key, now + 1, '+inf')
  if useds[c] < maxes[r] or call('ZCOUNT', key, now + 2 * lease + 1, '+inf') == 0 then
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

local function charge_concurrency(c, key, r, id)
  local lease = firsts[r]
  call('ZREMRANGEBYSCORE', key, '-inf', now)
  call('ZADD', key, now + lease, id)
  if call('PTTL', key) < lease + 1000 then
    call('PEXPIRE', key, lease + 1000)
  end
  useds[c] = useds[c] + 1
end
