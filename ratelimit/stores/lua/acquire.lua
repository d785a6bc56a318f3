-- Decides over all limits of many callers in one call: of each caller all limits are charged, or none is.
--
-- KEYS     the counters, caller by caller and charge by charge; with a number, the marker of the process as the last; all of
--          them in one slot
-- ARGV[1]  the number of the call (lib/receipt), or "" where nobody will ask about it
-- ARGV[2]  how many tariffs there are, each shared by many callers; then each tariff:
--            since, until   the instants (ms) between which they are what they are given as
--            ahead          "1" if its callers take units ahead
--            n              how many charges; then six a charge: kind, cost, max, end of its shadow (0: none), first, second
--              rate         "r"  window (ms), sub-windows       -> lib/rate
--              quota        "q"  start and end of the period    -> lib/quota
--              concurrency  "c"  lease (ms), 0                  -> lib/slots
--            m              how many later maxes; then three each: of which charge, the instant from which it holds, the max
--          then the callers: of which tariff (1, 2, ..), how often to charge ahead if the tariff has it, and a lease id for
--          each concurrency charge
-- Returns  now, then for each caller
--            -1             now is outside of since .. until: nothing was done, ask again for this instant
--            -2, why        this caller's counters can't be read or written: nothing is charged
--            -3, why        the same in the middle of it, and what was charged by then could not be taken back
--            1              allowed, and used of each charge; all were charged, and rates in the sub-window of now
--            2 or 0         allowed or denied, and four a charge: exceeded, used, reset_after, retry_after (-1: never)
--            after 1 or 2, if the tariff has it: how often it was charged ahead, and for how long (ms) that may be spent
--          or an error, where the call was given up before it came: nothing was done
--          The marker says who was charged: the instant (ms), and of whom, unless it was everybody with nothing ahead: how many
--          keys come before those of the caller, and ":" and how often it was charged ahead
--
-- Whole numbers below 2^53 throughout. Of a caller everything is read before anything is written, for an error does not undo
-- a write: after one in the middle (of a command that the user may not call), what was counted is taken back. A denied
-- request writes nothing, but for the repairs of counters after a clock that was far ahead.

local call, floor, ceil, max_of, min_of = redis.call, math.floor, math.ceil, math.max, math.min
local ARGV, KEYS, tonumber = ARGV, KEYS, tonumber

-- include lib/whole
-- include lib/rate
-- include lib/quota
-- include lib/slots
-- include lib/wait
-- include lib/ahead
-- include lib/receipt
-- include lib/tariff

local number, marker = ARGV[1], KEYS[#KEYS]
if number ~= '' and receipt_fenced(marker, number) then
  return receipt_refusal()
end

local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

local kinds = {
  r = {
    prepare = rate_prepare, view = rate_view, charge = rate_charge, undo = rate_undo, free_at = rate_free_at,
    reset = rate_reset,
  },
  q = {
    prepare = quota_prepare, view = quota_view, charge = quota_charge, undo = quota_undo, free_at = quota_free_at,
    reset = quota_reset,
  },
  c = {view = slots_view, charge = slots_charge, undo = slots_undo, free_at = slots_free_at, reset = slots_reset},
}

local reply, replied = {now}, 1
local charging -- the tariff of the caller that is being charged, and
local charging_after -- how many keys come before its own

-- Of the caller whose keys come after `before`, and whose lease ids after `leases`. Returns how often it was charged ahead,
-- or nothing where it was denied.
local function decide(tariff, before, leases, wanted)
  local rows, n, allowed, clean = tariff.rows, tariff.n, true, true
  charging = nil
  for c = 1, n do
    local row = rows[c]
    local seen, cost = row.seen, row.cost
    row.kind.view(KEYS[before + c], row, seen, now)
    local used = seen.used
    if not (used and used >= 0 and used <= WHOLE_LARGEST) then
      whole_refuse()
    end
    local exceeded = cost > 0 and used > row.max - cost -- never used + cost: it may pass 2^53
    seen.exceeded, seen.charged = exceeded, false
    if exceeded then
      allowed, clean = allowed and row.shadow, false
    elseif seen.target ~= row.current then -- the clock went back a little
      clean = false
    end
  end

  local taken, spendable = 0, 0
  if tariff.ahead and clean then
    spendable = ahead_spendable(tariff, now)
    taken = spendable > AHEAD_WORTH_MS and ahead_times(tariff, wanted) or 0
  end
  charging, charging_after = tariff, before
  for c = 1, n do
    local row, key = rows[c], KEYS[before + c]
    local seen, cost = row.seen, row.cost
    if seen.exceeded then
      seen.retry = wait_for(key, row, seen, now)
    elseif allowed and cost > 0 then
      row.kind.charge(key, row, seen, row.lease and ARGV[leases + row.lease] or cost * (1 + taken), now)
    end
  end

  if not allowed and tariff.changes then
    wait_true_then(KEYS, before, rows, now)
  end

  if clean and tariff.plain then
    replied = replied + 1
    reply[replied] = 1
    for c = 1, n do
      reply[replied + c] = rows[c].seen.used
    end
    replied = replied + n
  else
    replied = replied + 1
    reply[replied] = allowed and 2 or 0
    for c = 1, n do
      local row = rows[c]
      local seen = row.seen
      reply[replied + 1], reply[replied + 2] = seen.exceeded and 1 or 0, seen.used
      reply[replied + 3], reply[replied + 4] = row.kind.reset(row, seen, now), seen.exceeded and seen.retry or 0
      replied = replied + 4
    end
  end
  if not allowed then
    return nil
  elseif tariff.ahead then
    reply[replied + 1], reply[replied + 2] = taken, spendable
    replied = replied + 2
  end
  return taken
end

local tariffs, key_at, arg_at = {}, 0, 3
for t = 1, tonumber(ARGV[2]) do
  tariffs[t], arg_at = tariff_at(ARGV, arg_at, kinds, now)
end

local callers, noted, nothing_ahead = 0, {}, true

-- Caller by caller: what goes wrong for one is its own.
local function decide_all()
  while ARGV[arg_at] do
    local tariff, before, leases, wanted = tariffs[tonumber(ARGV[arg_at])], key_at, arg_at, 0
    arg_at = arg_at + 1 -- whatever there is: never the same again
    if tariff.ahead then
      leases = leases + 1
      wanted = tonumber(ARGV[leases])
    end
    -- The next one first: who fails is left behind.
    callers, key_at, arg_at = callers + 1, key_at + tariff.n, leases + tariff.leases + 1
    if tariff.holds then
      local taken = decide(tariff, before, leases, wanted)
      if taken and number ~= '' then
        noted[#noted + 1] = taken > 0 and string.format('%d:%d', before, taken) or before
        nothing_ahead = nothing_ahead and taken == 0
      end
    else
      replied = replied + 1
      reply[replied] = -1
    end
  end
end

-- Takes back what the caller was charged by the time of an error.
local function undo()
  for c = 1, charging and charging.n or 0 do
    local row = charging.rows[c]
    if row.seen.charged then
      row.kind.undo(KEYS[charging_after + c], row, row.seen)
    end
  end
end

while ARGV[arg_at] do
  local done, why = pcall(decide_all)
  if not done then
    local undone = pcall(undo)
    if not undone and number ~= '' then
      noted[#noted + 1] = charging_after
    end
    reply[replied + 1], reply[replied + 2] = undone and -2 or -3, type(why) == 'table' and why.err or tostring(why)
    replied = replied + 2
  end
end

if #noted == callers and nothing_ahead then
  receipt_mark(marker, number, string.format('%d', now))
elseif #noted > 0 then
  receipt_mark(marker, number, string.format('%d ', now) .. table.concat(noted, ' '))
end
return reply
