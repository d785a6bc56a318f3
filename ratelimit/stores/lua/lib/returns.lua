-- What goes back to a counter: to the sub-window or the period in which it was counted.
--
-- row   of a tariff: first and second, as the kind has them
-- seen  of a counter: used, and newest and target, or charged_at, as the kind has them; where nothing may be written, used and
--       back say what it would be

-- Gives back units of sub-window i, never more than is there. Returns 1, or 0 where that has left the ring.
local function returns_sub_window(key, row, seen, units, i, writes)
  local newest = seen.newest
  if not newest or i > newest or newest - i > row.second then
    return newest and i <= newest and 0 or 1
  end
  local field = string.format('%d', i % (row.second + 1))
  local fields = call('HMGET', key, 's', field)
  local count, back = tonumber(fields[2]) or 0, seen.back and seen.back[field] or 0
  units = min_of(units, count - back)
  if units > 0 and writes then
    rate_write(key, tonumber(fields[1]) - units, field, count - units)
  elseif units > 0 then
    seen.back = seen.back or {}
    seen.back[field] = back + units
    seen.used = seen.used - (seen.target - i <= row.second and units or 0)
  end
  return 1
end

-- The same, of what was counted at an instant.
local function returns_rate(key, row, seen, units, at, writes)
  return returns_sub_window(key, row, seen, units, rate_at(at, row), writes)
end

-- Gives back what was counted at an instant: if no period has begun since, and never more than is there.
local function returns_quota(key, row, seen, units, at, writes)
  local ends, charged_at = row.second, seen.charged_at
  if at < row.first or at > charged_at or (at < ends and ends <= charged_at) then
    return 1
  end
  units = min_of(units, seen.used)
  if units > 0 and writes then
    call('HSET', key, 'n', seen.used - units)
  end
  seen.used = seen.used - units
  return 1
end
