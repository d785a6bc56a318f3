-- Counts what was admitted without the store, gives back what was charged for nothing, and settles what is held.
--
-- KEYS     the counter of each item, of one that is held with its record (lib/holds) behind it; several items may be of one
--          counter; with a number, the marker of the process as the last; all of them in one slot
-- ARGV[1]  the number of the call (lib/receipt), or "" where nobody will ask about it
-- ARGV     then five an item:
--            "r"  units (below 0: to give back), window (ms), sub-windows, and the sub-window
--            "q"  units (below 0: to give back), start and end (ms) of its period, and the instant at which they were counted,
--                 or 0 where that was in the same period
--            "R"  units that were used, window, sub-windows, and the id of the hold
--            "Q"  units that were used, start and end of the period of now, and the id of the hold
-- Returns  now, then for each item: 1 done, 0 it no longer counts, 2 now is outside of its period: nothing was done, ask again;
--          or why this counter can't be read or written
--          or an error, where the call was given up before it came: nothing was done
--          The marker has a digit an item: 3 is one that failed
--
-- The max is not looked at: what was admitted was used, also above it. No more is given back than is there, and none where
-- the sub-window or the period is over: after a flush or a clock that went back what is there is not ours. A hold is settled
-- once: of its units those that were not used go back to where they were counted, what was used above them is charged now, and
-- all that was used where they went back already.

local call, floor, ceil, max_of, min_of = redis.call, math.floor, math.ceil, math.max, math.min

-- include lib/whole
-- include lib/rate
-- include lib/quota
-- include lib/returns
-- include lib/holds
-- include lib/receipt

local number, marker = ARGV[1], KEYS[#KEYS]
if number ~= '' and receipt_fenced(marker, number) then
  return receipt_refusal()
end

local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

local kinds = {
  r = {prepare = rate_prepare, view = rate_view, charge = rate_charge, undo = rate_undo, return_to = returns_rate},
  q = {prepare = quota_prepare, view = quota_view, charge = quota_charge, undo = quota_undo, return_to = returns_quota},
}
local row, seen = {}, {} -- of the item at hand

-- Counts units in sub-window i, whatever the max is; below 0 it gives them back. Returns 1, or 0 where that sub-window no
-- longer counts.
local function settle_rate(key, units, i)
  local fields = call('HMGET', key, 'h', 's')
  local newest, sum = tonumber(fields[1]), tonumber(fields[2])
  if fields[1] and not (newest and newest >= 0 and sum and sum >= 0 and sum <= WHOLE_LARGEST) then
    whole_refuse()
  end
  if units < 0 then
    seen.newest, seen.back = newest, nil
    return returns_sub_window(key, row, seen, -units, i, true)
  end
  local latest = max_of(rate_at(now, row), newest or 0)
  i = min_of(i, latest) -- by this clock it was admitted by now
  if latest - i > row.second then
    return 0
  end
  rate_row(row, i)
  if newest and i < newest then
    rate_write(key, sum + units, row.slot, (tonumber(call('HGET', key, row.slot)) or 0) + units)
  else
    rate_view(key, row, seen, now, true)
    rate_charge(key, row, seen, units, now)
  end
  return 1
end

-- Counts units in the period of the row, whatever the max is; below 0 it gives back what was counted at an instant.
-- Returns 1, or 0 where that period is over, or 2 where it has not begun by this clock: nothing was done.
local function settle_quota(key, units, at)
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
    seen.used, seen.charged_at = count, charged_at
    return returns_quota(key, row, seen, -units, max_of(at, row.first), true)
  end
  quota_prepare(row, now)
  quota_view(key, row, seen, now, true)
  quota_charge(key, row, seen, units, now)
  return 1
end

local function settle_hold(key, record, id, used)
  if row.kind == kinds.q and (now < row.first or now >= row.second) then
    return 2
  end
  seen.repaired = false
  row.kind.prepare(row, now)
  row.kind.view(key, row, seen, now, false)
  if seen.repaired then
    holds_lose(record, now)
    row.kind.view(key, row, seen, now, true)
  end
  if holds_settled(record, id, now) then
    return 1
  end
  local units, counted_at, ends = holds_find(record, id)
  local done, why = pcall(function()
    holds_settle(record, id, now)
    if used < units and counted_at then
      row.kind.return_to(key, row, seen, units - used, counted_at, true)
    elseif used > units then
      row.kind.charge(key, row, seen, min_of(used - units, WHOLE_LARGEST - seen.used), now)
    end
  end)
  if not done then
    if seen.charged then
      row.kind.undo(key, row, seen)
      seen.charged = false
    end
    holds_restore(record, id, units, counted_at, ends)
    error(why, 0)
  end
  return 1
end

-- The item whose arguments begin at a.
local function settle(key, record, a)
  local letter, units, place = string.lower(ARGV[a]), tonumber(ARGV[a + 1]), ARGV[a + 4]
  row.kind, row.first, row.second, seen.charged = kinds[letter], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]), false
  if letter ~= ARGV[a] then
    return settle_hold(key, record, place, units)
  elseif units == 0 then
    return 1
  elseif letter == 'r' then
    return settle_rate(key, units, tonumber(place))
  end
  return settle_quota(key, units, tonumber(place))
end

local reply, digits, changed, key_at = {now}, {}, false, 1
for i = 1, (#ARGV - 1) / 5 do
  local a, key = 5 * i - 3, KEYS[key_at]
  local done, outcome = pcall(settle, key, KEYS[key_at + 1], a)
  key_at = key_at + (ARGV[a] == string.lower(ARGV[a]) and 1 or 2)
  if not done and seen.charged and not pcall(row.kind.undo, key, row, seen) then
    done, outcome = true, 1 -- it is charged, without what was to follow
  end
  reply[i + 1] = done and outcome or whole_why(outcome)
  digits[i] = done and outcome or 3
  changed = changed or outcome == 1
end
if changed and number ~= '' then
  receipt_mark(marker, number, table.concat(digits))
end
return reply
