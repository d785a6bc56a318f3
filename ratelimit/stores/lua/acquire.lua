-- Decides over all limits of many callers in one call: of each caller all limits are charged, or none is.
--
-- KEYS     the counters, caller by caller and charge by charge, each of a limit whose units can be held with its record
--          (lib/holds) behind it; with a number, the marker of the process as the last; all of them in one slot
-- ARGV[1]  the number of the call (lib/receipt), or "" where nobody will ask about it
-- ARGV[2]  how many tariffs there are, each shared by many callers; then each tariff:
--            since, until   the instants (ms) between which they are what they are given as
--            mode           what its callers ask for:
--              decide       all limits are charged, or none is
--              ahead        the same, and some of what may be asked for next
--              peek         what decide would say now; nothing is written
--              charge       all limits are charged, whatever the max is
--              hold         as decide; what is taken goes back one lease later, unless it is renewed or settled by then
--            n              how many charges; then six a charge: kind, cost, max, shadow, first, second
--              kind         "r" a rate, "q" a quota, "c" a concurrency cap; "R" and "Q" where units can be held
--              shadow       until when it is one: 0 where it is enforced
--              first, second  window (ms) and sub-windows; start and end of the period; lease (ms) and 0
--            m              how many later maxes; then three each: of which charge, the instant from which it holds, the max
--          then the callers: of which tariff (1, 2, ..), then
--            decide, ahead  (ahead: how often to charge ahead,) and a lease id for each concurrency charge that costs something
--            peek, charge   how many units, by which each cost is multiplied
--            hold           how many units, and an id for the hold, which ends with its lease: "/60000@3f9a"
-- Returns  now, then for each caller
--            -1             now is outside of since .. until: nothing was done, ask again for this instant
--            -2, why        this caller's counters can't be read or written: nothing is charged
--            -3, why        the same in the middle of it, and what was charged by then could not be taken back
--            1              allowed, and used of each charge; all were charged, and at this instant
--            2 or 0         allowed or denied, and four a charge: exceeded, used, reset_after, and where it is exceeded
--                           retry_after (-1: never), else how long (ms) after now the sub-window or period begins in which it
--                           was counted, as the clock went back
--            after 1 or 2, if they ask for it: how often it was charged ahead, and for how long (ms) that may be spent
--          or an error, where the call was given up before it came: nothing was done
--          The marker says who was charged: the instant (ms), and of whom, unless it was everybody with nothing ahead: how many
--          keys come before those of the caller, and ":" and how often it was charged ahead
--
-- Whole numbers below 2^53 throughout. Of a caller everything is read before anything is written, for an error does not undo
-- a write: after one in the middle (of a command that the user may not call), what was counted is taken back. A denied
-- request writes nothing, but for repairs after a clock that was far ahead, and for what is not held any more.

local call, floor, ceil, max_of, min_of = redis.call, math.floor, math.ceil, math.max, math.min
local ARGV, KEYS, tonumber = ARGV, KEYS, tonumber

-- include lib/whole
-- include lib/rate
-- include lib/quota
-- include lib/kinds
-- include lib/seldom
-- include lib/receipt
-- include lib/tariff
-- include lib/reply

local number, marker = ARGV[1], KEYS[#KEYS]
if number ~= '' and receipt_fenced(marker, number) then
  return receipt_refusal()
end

local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

-- Of those, each once it is needed: what few need.
local view_held, put_held, drop_held, take_ahead, time_wait, time_true_wait, count_repeats, reply_repeats

local reply, replied = {now}, 1
-- Of the caller that is being charged: its tariff, how many keys come before its own, and how many are charged with it.
local charging, charging_after, charging_same = nil, 0, 0
local callers, key_at, arg_at = 0, 0, 3 -- how many had their turn; and where the next ones are
local endings = 128 -- of holds, that this call may still see to: less than a millisecond

-- Of the caller whose keys come after `before`, and whose arguments after `at`. Returns how often it was charged ahead, or
-- nothing where it was not charged; and how many were charged with it.
local function decide(tariff, before, at)
  local rows, n, mode, units = tariff.rows, tariff.n, tariff.mode, 1
  local writes, counts, ahead = mode ~= 'peek', mode == 'charge', mode == 'ahead'
  if mode ~= 'decide' and not ahead then
    units = tonumber(ARGV[at + 1])
  end
  local allowed, clean = true, units > 0
  for c = 1, n do
    local row = rows[c]
    local seen, cost, key = row.seen, row.cost * units, KEYS[before + row.key]
    if row.record then
      endings = endings - view_held(KEYS[before + row.key + 1], key, row, seen, now, endings, writes)
    else
      row.view(key, row, seen, now, writes)
    end
    local used = seen.used
    if not (used >= 0 and used <= WHOLE_LARGEST) then
      whole_refuse()
    end
    local exceeded = used > row.max - cost and cost > 0 and not counts -- never used + cost: it may pass 2^53
    seen.exceeded, seen.charged = exceeded, false
    if exceeded then
      allowed, clean = allowed and row.shadow, false
      if not time_wait then
        time_wait, time_true_wait = seldom_wait()
      end
    elseif seen.target ~= row.current then -- the clock went back a little
      clean = false
    end
  end

  local taken, spendable, same = 0, 0, 0
  if ahead and clean then
    take_ahead = take_ahead or seldom_ahead()
    taken, spendable = take_ahead(tariff, tonumber(ARGV[at + 1]), now)
  end
  if clean and tariff.repeats and KEYS[key_at + 1] == KEYS[before + 1] then
    count_repeats, reply_repeats = seldom_repeats()
    same = count_repeats(tariff, KEYS, before, ARGV, at)
    callers, key_at, arg_at = callers + same, key_at + same * n, arg_at + same
  end
  charging, charging_after, charging_same = tariff, before, same
  local times = 1 + taken + same
  if clean and tariff.simple then -- most often: nothing is left but to count
    for c = 1, n do
      local row = rows[c]
      local what = row.lease and ARGV[at + tariff.skips + row.lease] or row.cost * times
      row.charge(KEYS[before + row.key], row, row.seen, what, now)
    end
    if same > 0 then
      replied = reply_repeats(reply, replied, tariff, same)
    end
    replied = reply_plainly(reply, replied, tariff)
  else
    local hold = mode == 'hold' and ARGV[at + 2]
    for c = 1, n do
      local row = rows[c]
      local seen, key = row.seen, KEYS[before + row.key]
      local cost = row.cost * units
      seen.cost = cost
      if counts then
        cost = min_of(cost, WHOLE_LARGEST - seen.used)
      end
      if seen.exceeded then
        seen.retry = time_wait(key, row, seen, now)
      elseif not (allowed and cost > 0) then
        clean = clean and row.cost == 0
      elseif writes then
        row.charge(key, row, seen, row.lease and ARGV[at + tariff.skips + row.lease] or cost * times, now)
        if hold and row.record then
          put_held(KEYS[before + row.key + 1], hold, cost, row, seen, now)
        end
      else
        seen.used, seen.charged = seen.used + cost, cost
      end
    end
    if not allowed and tariff.changes then
      time_true_wait(tariff, KEYS, before, now)
    end
    local tell = clean and tariff.plain and reply_plainly or reply_fully
    replied = tell(reply, replied, tariff, allowed, now)
  end
  if ahead and allowed then
    reply[replied + 1], reply[replied + 2] = taken, spendable
    replied = replied + 2
  end
  charging, charging_same = nil, 0
  return allowed and writes and taken or nil, same
end

local tariffs = {}
for t = 1, tonumber(ARGV[2]) do
  tariffs[t], arg_at = tariff_at(ARGV, arg_at, kinds_of, now)
  if tariffs[t].keys > tariffs[t].n and not view_held then
    view_held, put_held, drop_held = seldom_holds()
  end
end

local noted, nothing_ahead = {}, true

-- Caller by caller: what goes wrong for one is its own.
local function decide_all()
  while ARGV[arg_at] do
    local tariff, before, at = tariffs[tonumber(ARGV[arg_at])], key_at, arg_at
    arg_at = arg_at + 1 -- whatever there is: never the same again
    -- The next one first: who fails is left behind.
    callers, key_at, arg_at = callers + 1, key_at + tariff.keys, arg_at + tariff.arguments
    if tariff.holds then
      local taken, same = decide(tariff, before, at)
      if taken and number ~= '' then
        noted[#noted + 1] = taken > 0 and string.format('%d:%d', before, taken) or before
        nothing_ahead = nothing_ahead and taken == 0
        for c = 1, same do
          noted[#noted + 1] = before + c * tariff.n
        end
      end
    else
      replied = replied + 1
      reply[replied] = -1
    end
  end
end

while ARGV[arg_at] do
  local done, why = pcall(decide_all)
  if not done then
    local undone = not charging or pcall(tariff_undo, charging, KEYS, charging_after, drop_held)
    for c = 0, charging_same do
      if not undone and number ~= '' then
        noted[#noted + 1] = charging_after + c * charging.n
      end
      reply[replied + 1], reply[replied + 2] = undone and -2 or -3, whole_why(why)
      replied = replied + 2
    end
    charging, charging_same = nil, 0
  end
end

if number ~= '' and #noted == callers and nothing_ahead then
  receipt_mark(marker, number, string.format('%d', now))
elseif #noted > 0 then
  receipt_mark(marker, number, string.format('%d ', now) .. table.concat(noted, ' '))
end
return reply
