-- Prolongs the leases of requests that still run, all of a process's in one call.
--
-- KEYS[l]       the concurrency counter of lease l; all of them in one slot
-- ARGV          two a lease: its id, and the lease (ms)
-- Returns       one number a lease: 1, or 0 if it was lost (it had expired, and its slot was given away)
--
-- An expired lease that is still there was given to nobody else: adding one drops the expired.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = {}
for l, key in ipairs(KEYS) do
  local id, lease = ARGV[2 * l - 1], tonumber(ARGV[2 * l])
  kept[l] = 0
  if redis.call('ZSCORE', key, id) then
    redis.call('ZADD', key, now + lease, id)
    if redis.call('PTTL', key) < lease + 1000 then
      redis.call('PEXPIRE', key, lease + 1000)
    end
    kept[l] = 1
  end
end
return kept
