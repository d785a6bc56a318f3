-- The record of what is held of a counter, beside it: a sorted set. A hold has three members, one that was settled has one.
--
--   h<id>  the instant at which its lease ends
--   u<id>  its units, as a number below 0
--   c<id>  an instant in the sub-window or period in which they were counted, as a number below 0; not there where the clock
--          went far back and nobody knows any more
--   t<id>  until when it is known that it was settled: for four leases and an hour, as a settle whose reply was lost may come
--          again after three leases without the store, and late
--
-- An id ends with the length of its lease, and the name of its store: "/60000@3f9a". Units that were neither settled nor
-- renewed go back when a script comes by, each once: what is not in the record any more was given back.
--
-- row   of a tariff: kind, with its return_to
-- seen  of a counter, as the kind has it; held, the id of the hold that was put; more, whether there are more that have ended

local HOLDS_HOUR_MS = 3600000

local function holds_lease(id)
  return tonumber(string.match(id, '/(%d+)@'))
end

local function holds_known(lease)
  return 4 * lease + HOLDS_HOUR_MS
end

-- Adds to the record, which is kept for so long (ms) from now on; the expiry of one that is there comes first.
local function holds_add(record, lasts, ...)
  local ttl = call('PTTL', record)
  if ttl ~= -2 and ttl < lasts + 1000 then
    call('PEXPIRE', record, lasts + 1000)
  end
  call('ZADD', record, ...)
  if ttl == -2 then
    call('PEXPIRE', record, lasts + 1000)
  end
end

-- Of units that were just charged. They are known of for as long as they count, and no shorter than any hold.
local function holds_put(record, id, units, row, seen, now)
  seen.held = id
  local lease, counted_at, lasts = holds_lease(id), row.kind.counted(row, seen, now), row.kind.reset(row, seen, now)
  holds_add(record, max_of(lasts, holds_known(lease)), now + lease, 'h' .. id, -units, 'u' .. id, -counted_at, 'c' .. id)
end

local function holds_drop(record, id)
  call('ZREM', record, 'h' .. id, 'u' .. id, 'c' .. id)
end

-- The units of a hold, and the instant at which they were counted, or nil; and when its lease ends, nil where it is gone.
local function holds_find(record, id)
  local found = call('ZMSCORE', record, 'u' .. id, 'c' .. id, 'h' .. id)
  local counted_at = tonumber(found[2])
  return -(tonumber(found[1] or 0)), counted_at and -counted_at, tonumber(found[3])
end

-- Puts back a hold as it was found, in one write: nothing goes back of it twice, and it is not settled.
local function holds_restore(record, id, units, counted_at, ends)
  if counted_at then
    call('ZADD', record, ends, 'h' .. id, -units, 'u' .. id, -counted_at, 'c' .. id, 0, 't' .. id)
  elseif ends then
    call('ZADD', record, ends, 'h' .. id, -units, 'u' .. id, 0, 't' .. id)
  else
    call('ZREM', record, 't' .. id)
  end
end

-- Gives back what is not leased any more, of `most` holds. Returns of how many it was.
local function holds_end(record, key, row, seen, now, most, writes)
  local ended = call('ZRANGEBYSCORE', record, 0, now, 'LIMIT', 0, most)
  for e = 1, #ended do
    local id = string.sub(ended[e], 2)
    if string.sub(ended[e], 1, 1) == 'h' then
      local units, counted_at, ends = holds_find(record, id)
      if writes then
        call('ZADD', record, 0, 'u' .. id) -- first: of what is left behind in the middle nothing goes back
      end
      local done, why = true, nil
      if counted_at then
        done, why = pcall(row.kind.return_to, key, row, seen, units, counted_at, writes)
      end
      if not done then
        holds_restore(record, id, units, counted_at, ends)
        error(why, 0)
      elseif writes then
        holds_drop(record, id)
      end
    elseif writes then
      call('ZREM', record, ended[e])
    end
  end
  return #ended
end

-- The clock went far back, and the counter does not know any more what was counted when: nothing goes back to it. All end
-- within a lease.
local function holds_lose(record, now)
  local all = call('ZRANGEBYSCORE', record, 0, '+inf', 'WITHSCORES')
  for a = 1, #all, 2 do
    local id = string.sub(all[a], 2)
    if string.sub(all[a], 1, 1) == 'h' then
      call('ZREM', record, 'c' .. id)
      call('ZADD', record, min_of(tonumber(all[a + 1]), now + holds_lease(id)), all[a])
    end
  end
end

-- Looks at a limit whose units can be held: first what is not leased any more goes back. Returns of how many holds it was.
local function holds_view(record, key, row, seen, now, most, writes)
  seen.repaired, seen.held = false, false
  row.kind.view(key, row, seen, now, false)
  if seen.repaired and writes then
    holds_lose(record, now)
    row.kind.view(key, row, seen, now, true)
  end
  seen.more = false
  if seen.repaired and not writes then
    return 0
  end
  local ended = most > 0 and holds_end(record, key, row, seen, now, most, writes) or 0
  if ended == most then -- else a process would remember a denial, while there is nothing but calls to give the rest back
    seen.more = call('ZCOUNT', record, 0, now) > (writes and 0 or most)
  end
  if ended > 0 and writes then
    row.kind.view(key, row, seen, now, writes)
  end
  return ended
end

-- Whether it is there: then its lease begins anew. It is never taken again.
local function holds_renew(record, id, now)
  local lease = holds_lease(id)
  if not call('ZSCORE', record, 'h' .. id) then
    return false
  end
  holds_add(record, holds_known(lease), now + lease, 'h' .. id)
  return true
end

local function holds_settled(record, id, now)
  local till = call('ZSCORE', record, 't' .. id)
  return till and tonumber(till) > now
end

-- From now on it is settled, and nothing goes back of it any more.
local function holds_settle(record, id, now)
  local lasts = holds_known(holds_lease(id))
  holds_add(record, lasts, now + lasts, 't' .. id, 0, 'u' .. id)
  redis.pcall('ZREM', record, 'h' .. id, 'u' .. id, 'c' .. id)
end
