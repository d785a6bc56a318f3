-- Callers of a call who are the same: of a very hot one there may be dozens. Who follows the first is charged with it.
--
-- tariff  n, and its rows: cost, max
-- seen    of a counter: used

-- How many follow the caller whose keys come after `before`, and whose tariff is at a, are the same, and have room with it.
local function repeats_count(tariff, keys, before, arguments, a)
  local n, same = tariff.n, 0
  while arguments[a + same + 1] == arguments[a] do
    local next_one = before + (same + 1) * n
    for c = 1, n do
      local row = tariff.rows[c]
      if keys[next_one + c] ~= keys[before + c] or row.seen.used > row.max - row.cost * (same + 2) then
        return same
      end
    end
    same = same + 1
  end
  return same
end

-- What those are told after whom so many more were charged, and less and less.
local function repeats_reply(reply, at, tariff, more)
  for later = more, 1, -1 do
    reply[at + 1] = 1
    for c = 1, tariff.n do
      local row = tariff.rows[c]
      reply[at + 1 + c] = row.seen.used - later * row.cost
    end
    at = at + 1 + tariff.n
  end
  return at
end
