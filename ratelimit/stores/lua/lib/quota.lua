-- A quota: the count of a calendar period, as a hash: n, the count; t, the instant of the last charge; e, the end of the
-- period for which the key is kept.
--
-- row   of a tariff: first and second, the start and the end of the period; and by quota_prepare: now_text
-- seen  of a counter: used; charged_at, -1 where there is none; target, that instant where it is behind the period, as the
--       clock went back over its end; kept_until; repaired, true where the clock went far back; charged, the units that were
--       counted, false until they are
--
-- An expiry by itself does no harm, so that of a key that is there comes first: see lib/rate.

local function quota_prepare(row, now)
  row.now_text = string.format('%d', now) -- costs a command half of what a number does
end

local function quota_view(key, row, seen, now, writes)
  local starts, ends = row.first, row.second
  local fields = call('HMGET', key, 'n', 't', 'e')
  local count, charged_at, kept_until = (fields[1] or 0) + 0, (fields[2] or -1) + 0, (fields[3] or 0) + 0
  if charged_at >= 2 * ends - starts then -- more than a period ahead: it is the count of this one
    if writes then
      call('PEXPIRE', key, ends - now + 1000)
      call('HSET', key, 't', now, 'e', ends)
    end
    charged_at, kept_until, seen.repaired = now, ends, true
  end
  seen.used = charged_at >= starts and count or 0
  seen.charged_at, seen.kept_until, seen.target = charged_at, kept_until, charged_at >= ends and charged_at or nil
end

local function quota_charge(key, row, seen, units, now)
  local used, ends = seen.used + units, row.second
  local charged_at = seen.charged_at > now and seen.charged_at or row.now_text
  local later = ends > seen.kept_until
  if later and seen.charged_at >= 0 then
    call('PEXPIRE', key, ends - now + 1000)
  end
  if later then
    call('HSET', key, 'n', used, 't', charged_at, 'e', ends)
  else
    call('HSET', key, 'n', used, 't', charged_at)
  end
  seen.used, seen.charged = used, units
  if seen.charged_at < 0 then
    call('PEXPIRE', key, ends - now + 1000)
  end
end

-- After quota_charge, or half of it.
local function quota_undo(key, _, seen)
  if seen.charged_at >= 0 or type(redis.pcall('DEL', key)) == 'table' then
    call('HSET', key, 'n', seen.used - seen.charged, 'e', seen.kept_until)
  end
end

-- Of what was charged: an instant in the period in which it counts.
local function quota_counted(_, seen, now)
  return seen.target or now
end

local function quota_free_at(_, row)
  return row.second
end

local function quota_reset(row, _, now)
  return row.second - now
end
