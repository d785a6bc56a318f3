-- What a caller is told, behind the first `at` parts of a reply. Both return how many parts there are then.
--
-- row   of a tariff: kind, with its reset and counted
-- seen  of a counter: used; exceeded; retry; charged

-- Allowed, and all was charged at this instant.
local function reply_plainly(reply, at, tariff)
  local rows, n = tariff.rows, tariff.n
  reply[at + 1] = 1
  for c = 1, n do
    reply[at + 1 + c] = rows[c].seen.used
  end
  return at + 1 + n
end

local function reply_fully(reply, at, tariff, allowed, now)
  reply[at + 1] = allowed and 2 or 0
  at = at + 1
  for c = 1, tariff.n do
    local row = tariff.rows[c]
    local seen = row.seen
    local later = seen.exceeded and seen.retry or seen.charged and row.kind.counted(row, seen, now) - now or 0
    reply[at + 1], reply[at + 2] = seen.exceeded and 1 or 0, seen.used
    reply[at + 3], reply[at + 4] = row.kind.reset(row, seen, now), later
    at = at + 4
  end
  return at
end
