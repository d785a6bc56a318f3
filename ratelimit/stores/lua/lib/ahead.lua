-- What a caller may be charged ahead: units that its process spends without asking.
--
-- tariff  n, and its rows: kind, cost, max, first, second, current; till, the instant at which something of it changes

local AHEAD_WORTH_MS = 5 -- the rest of a sub-window for which nothing is taken ahead: it would be over on arrival

-- For how long: units ahead die with the sub-window in which they were counted, and with what their limits are given as: the
-- period of a quota, a max that ends. A whole second at most, so that what goes back is not missed for long.
local function ahead_spendable(tariff, now)
  local till = min_of(now - now % 1000 + 1000, tariff.till)
  for c = 1, tariff.n do
    local row = tariff.rows[c]
    if row.current then
      till = min_of(till, ceil((row.current + 1) * row.first / row.second))
    end
  end
  return till - now
end

-- How often more it may be charged: an eighth of what is left of each limit, and nothing near the limit.
local function ahead_times(tariff, wanted)
  for c = 1, tariff.n do
    local row = tariff.rows[c]
    if row.cost > 0 then
      wanted = min_of(wanted, floor((row.max - row.seen.used - row.cost) / 8 / row.cost))
    end
  end
  return max_of(wanted, 0)
end

-- How often more it is charged, and for how long that may be spent.
local function ahead_take(tariff, wanted, now)
  local spendable = ahead_spendable(tariff, now)
  return spendable > AHEAD_WORTH_MS and ahead_times(tariff, wanted) or 0, spendable
end
