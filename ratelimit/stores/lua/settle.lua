-- Counts what was admitted without the store, or gives back what was charged for nothing, where it was counted by then.
--
-- KEYS     the counter of each item; several items may be of one counter; with a number, the marker of the process as the last;
--          all of them in one slot
-- ARGV[1]  the number of the call (lib/receipt), or "" where nobody will ask about it
-- ARGV     then five an item: "r" or "q", the units (below 0: to give back), then of a rate its window (ms), its sub-windows
--          and the sub-window, of a quota the start and the end of its period (ms), and 0
-- Returns  now, then for each item: 1 done, 0 it no longer counts, 2 its period has not begun by this clock: nothing was
--          done, ask again; or why this counter can't be read or written
--          or an error, where the call was given up before it came: nothing was done
--          The marker has a digit an item: 3 is one that failed
--
-- The max is not looked at: what was admitted was used, also above it. No more is given back than is there, and none where
-- the sub-window or the period is over: after a flush or a clock that went back what is there is not ours.

local call, floor, ceil, max_of = redis.call, math.floor, math.ceil, math.max

-- include lib/whole
-- include lib/rate
-- include lib/quota
-- include lib/receipt

local number, marker = ARGV[1], KEYS[#KEYS]
if number ~= '' and receipt_fenced(marker, number) then
  return receipt_refusal()
end

local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

local row, seen = {}, {} -- of the item at hand

local function settle(i)
  local a = 5 * i - 3
  local units = tonumber(ARGV[a + 1])
  row.first, row.second, seen.charged = tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]), false
  if ARGV[a] == 'r' then
    return rate_settle(KEYS[i], row, seen, tonumber(ARGV[a + 4]), units, now)
  end
  return quota_settle(KEYS[i], row, seen, units, now)
end

local function undo(i)
  local undo_of = ARGV[5 * i - 3] == 'r' and rate_undo or quota_undo
  undo_of(KEYS[i], row, seen)
end

local reply, digits, changed = {now}, {}, false
for i = 1, (#ARGV - 1) / 5 do
  local done, outcome = pcall(settle, i)
  if not done and seen.charged and not pcall(undo, i) then
    done, outcome = true, 1 -- it is charged, without what was to follow
  end
  reply[i + 1] = done and outcome or (type(outcome) == 'table' and outcome.err or tostring(outcome))
  digits[i] = done and outcome or 3
  changed = changed or outcome == 1
end
if changed and number ~= '' then
  receipt_mark(marker, number, table.concat(digits))
end
return reply
