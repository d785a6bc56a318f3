-- Gives back what was charged ahead and not spent, of one caller, to where it was counted.
--
-- KEYS     the counters of the caller; all of them in one slot
-- ARGV[1]  the instant (ms) at which it was charged, as the script that did so has told
-- ARGV     then four a counter: "r" or "q", the units, and window (ms) and sub-windows, or start and end of the period
--
-- Sent at most once: given back twice, a unit would be admitted twice. No more is given back than is there, and none
-- where the sub-window or the period is over: after a flush or a clock that went back what is there is not ours.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local charged_at = tonumber(ARGV[1])

for c, key in ipairs(KEYS) do
  local a = 4 * c - 2
  local units, first, second = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  if ARGV[a] == 'r' then
    local R, sub_window = second + 1, math.floor(charged_at * second / first)
    local slot = string.format('%d', sub_window % R)
    local fields = redis.call('HMGET', key, 'h', 's', slot)
    local newest, sum, count = tonumber(fields[1]), tonumber(fields[2]), tonumber(fields[3])
    if newest and count and sub_window <= newest and newest - sub_window < R then
      units = math.min(units, count)
      redis.call('HSET', key, 's', sum - units, slot, count - units)
    end
  elseif ARGV[a] == 'q' then
    local fields = redis.call('HMGET', key, 'n', 't')
    local count, last_at = tonumber(fields[1]), tonumber(fields[2])
    if count and last_at >= first and now < second then
      redis.call('HSET', key, 'n', count - math.min(units, count))
    end
  end
end
