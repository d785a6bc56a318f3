-- A quota: the count of a calendar period, as a hash: n, the count; t, the instant of the last charge; e, the end of the
-- period for which the key is kept.
--
-- row   of a tariff: first and second, the start and the end of the period; and by quota_prepare: now_text
-- seen  of a counter: used; charged_at, -1 where there is none; kept_until; charged, the units that were counted, false until
--       they are
--
-- An expiry by itself does no harm, so that of a key that is there comes first: see lib/rate.

local function quota_prepare(row, now)
  row.now_text = string.format('%d', now) -- costs a command half of what a number does
end

local function quota_view(key, row, seen, now)
  local starts, ends = row.first, row.second
  local fields = call('HMGET', key, 'n', 't', 'e')
  local count, charged_at, kept_until = tonumber(fields[1] or 0), tonumber(fields[2] or -1), tonumber(fields[3] or 0)
  if not (count and charged_at and kept_until) then
    whole_refuse()
  elseif charged_at >= 2 * ends - starts then -- more than a period ahead: it is the count of this one
    call('PEXPIRE', key, ends - now + 1000)
    call('HSET', key, 't', now, 'e', ends)
    charged_at, kept_until = now, ends
  end
  seen.used = charged_at >= starts and count or 0
  seen.charged_at, seen.kept_until = charged_at, kept_until
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

-- Counts units in the period of the row, whatever the max is; below 0 it gives them back, never more than is there. Returns
-- 1, or 0 where that period is over, or 2 where it has not begun by this clock: nothing was done.
local function quota_settle(key, row, seen, units, now)
  if now >= row.second then
    return 0
  elseif now < row.first then
    return 2
  elseif units <= 0 then
    local fields = call('HMGET', key, 'n', 't')
    local count, charged_at = tonumber(fields[1] or 0), tonumber(fields[2] or -1)
    if not (count and charged_at) then
      whole_refuse()
    end
    units = charged_at >= row.first and max_of(units, -count) or 0
    if units < 0 then
      call('HSET', key, 'n', count + units)
    end
  else
    quota_prepare(row, now)
    quota_view(key, row, seen, now)
    quota_charge(key, row, seen, units, now)
  end
  return 1
end

local function quota_free_at(_, row)
  return row.second
end

local function quota_reset(row, _, now)
  return row.second - now
end
