-- Decides over all limits of many callers in one call: of each caller all limits are charged, or none is.
--
-- KEYS     the counters, caller by caller and charge by charge; all of them in one slot
-- ARGV[1]  how many tariffs there are, each shared by many callers; then each tariff:
--            since, until   the instants (ms) between which they are what they are given as
--            ahead          "1" if its callers take units ahead
--            n              how many charges; then six a charge: kind, cost, max, shadow ("1" or "0"), first, second
--              rate         "r"  window (ms), sub-windows       -> hash: h newest sub-window, s sum, 0 .. k counts
--              quota        "q"  start and end of the period    -> hash: n count, t last charge, e end (for the expiry)
--              concurrency  "c"  lease (ms), 0                  -> sorted set: lease ids by their expiry
--            m              how many later maxes; then three each: of which charge, the instant from which it holds, the max
--          then the callers: of which tariff (1, 2, ..), how often to charge ahead if the tariff has it, and a lease id for
--          each concurrency charge
-- Returns  now, then for each caller
--            -1             now is outside of since .. until: nothing was done, ask again for this instant
--            -2, why        this caller's counters can't be read or written: nothing was charged
--            1              allowed, and used of each charge; all were charged, and rates in the sub-window of now
--            2 or 0         allowed or denied, and four a charge: exceeded, used, reset_after, retry_after (-1: never)
--            after 1 or 2, if the tariff has it: how often it was charged ahead, and for how long (ms) that may be spent
--
-- Whole numbers below 2^53 throughout. Of a caller everything is read before anything is written: an error does not
-- undo a write. A denied request writes nothing, but for the repairs of counters after a clock that was far ahead.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local call, floor, ceil, max_of, min_of = redis.call, math.floor, math.ceil, math.max, math.min
local ARGV, KEYS, tonumber = ARGV, KEYS, tonumber
local WORTH_MS = 5 -- the rest of a sub-window for which nothing is taken ahead: it would be over on arrival
local now_text = string.format('%d', now) -- a text costs a command half of what a number does

-- Of each tariff:
local holds, untils, plain, charge_counts, rows_before, lease_counts = {}, {}, {}, {}, {}, {}
local ahead, first_later, last_later = {}, {}, {}
-- Of each row, which is one charge of one tariff:
local kinds, costs, maxes, shadows, firsts, seconds, lease_numbers = {}, {}, {}, {}, {}, {}, {}
local currents, current_texts, slot_names = {}, {}, {} -- of a rate: the sub-window of now, and where it is kept
-- Of each charge of the caller at hand:
local useds, exceededs, retries = {}, {}, {}
local newests, targets, slots = {}, {}, {} -- of a rate: the newest sub-window charged, the one to charge, the count in it
local charged_ats, kept_untils = {}, {} -- of a quota

local key_at, arg_at, replied = 0, 2, 1
local reply = {now}

for s = 1, tonumber(ARGV[1]) do
  local n = tonumber(ARGV[arg_at + 3])
  untils[s] = tonumber(ARGV[arg_at + 1])
  holds[s] = now >= tonumber(ARGV[arg_at]) and now < untils[s]
  ahead[s] = ARGV[arg_at + 2] == '1'
  charge_counts[s], rows_before[s], lease_counts[s], plain[s] = n, #kinds, 0, true
  arg_at = arg_at + 4
  for r = #kinds + 1, #kinds + n do
    local first, second = tonumber(ARGV[arg_at + 4]), tonumber(ARGV[arg_at + 5])
    kinds[r], costs[r], maxes[r] = ARGV[arg_at], tonumber(ARGV[arg_at + 1]), tonumber(ARGV[arg_at + 2])
    shadows[r], firsts[r], seconds[r] = ARGV[arg_at + 3] == '1', first, second
    plain[s] = plain[s] and costs[r] > 0
    if kinds[r] == 'r' then
      local current = floor(now * second / first)
      currents[r], current_texts[r] = current, string.format('%d', current)
      slot_names[r] = string.format('%d', current % (second + 1))
    elseif kinds[r] == 'c' and costs[r] > 0 then
      lease_counts[s] = lease_counts[s] + 1
      lease_numbers[r] = lease_counts[s]
    end
    arg_at = arg_at + 6
  end
  first_later[s], last_later[s] = arg_at + 1, arg_at + 3 * tonumber(ARGV[arg_at])
  arg_at = last_later[s] + 1
end
