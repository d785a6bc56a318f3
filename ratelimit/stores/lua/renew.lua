-- Prolongs the leases of requests that still run, of slots and of units that are held.
--
-- KEYS[l]  the concurrency counter of lease l, or the record of what is held (lib/holds), at most 256 of them; all in one slot
-- ARGV     three a lease: its id, the lease (ms), and the max of its counter, "" of what is held
-- Returns  one number a lease: 1, or 0 if there was no room for it, or what was held is gone
--
-- An expired lease that is still there was given to nobody else: adding one drops the expired. One that is gone (it was
-- dropped, or the server lost it) is taken again, also above the max: its request runs, and nobody else comes in until
-- there is room. What is no counter of leases is somebody else's: there is no room in it. Units that are gone are never
-- taken again.

local call, max_of, min_of = redis.call, math.max, math.min

-- include lib/holds
-- include lib/slots

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = {}
for l, key in ipairs(KEYS) do
  local id, lease, max = ARGV[3 * l - 2], tonumber(ARGV[3 * l - 1]), tonumber(ARGV[3 * l])
  local expiry = redis.pcall('ZSCORE', key, id)
  kept[l] = 1
  if type(expiry) == 'table' then -- WRONGTYPE: of this lease alone
    kept[l] = 0
  elseif not max then
    kept[l] = holds_renew(key, id, now) and 1 or 0
  else
    if not expiry then
      slots_drop_expired(key, now)
      kept[l] = call('ZCARD', key) < max and 1 or 0
    end
    slots_keep(key, id, lease, now)
  end
end
return kept
