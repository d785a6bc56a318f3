-- A tariff: what many callers of a call have in common.
--
-- tariff  rows, one a charge, and n of them; holds, whether it is for now; till, until when; ahead; plain, whether each of its
--         charges costs something; leases, how many lease ids a caller has; changes, whether a max or a shadow ends
-- row     kind; cost; max; shadow, and shadow_till, until when (2^53 - 1: for good); first and second, which mean what the kind
--         says; later, nil or the maxes to come, each after its instant; lease, which of the lease ids is for it; seen, how
--         its counter was found, of one caller after the other

-- The tariff whose arguments begin at a, and where they end. `kinds` are by their letters.
local function tariff_at(arguments, a, kinds, now)
  local since, till, n = tonumber(arguments[a]), tonumber(arguments[a + 1]), tonumber(arguments[a + 3])
  local rows, plain, leases, changes = {}, true, 0, tonumber(arguments[a + 4 + 6 * n]) > 0
  local ahead = arguments[a + 2] == '1'
  a = a + 4
  for c = 1, n do
    local row = {
      kind = kinds[arguments[a]], cost = tonumber(arguments[a + 1]), max = tonumber(arguments[a + 2]),
      shadow_till = tonumber(arguments[a + 3]), first = tonumber(arguments[a + 4]), second = tonumber(arguments[a + 5]),
      seen = {used = 0, exceeded = false, retry = 0, charged = false},
    }
    rows[c], row.shadow = row, row.shadow_till > 0
    changes = changes or (row.shadow and row.shadow_till < WHOLE_LARGEST - 1)
    plain = plain and row.cost > 0
    if row.kind.prepare then
      row.kind.prepare(row, now)
    elseif row.cost > 0 then
      leases = leases + 1
      row.lease = leases
    end
    a = a + 6
  end
  local last = a + 3 * tonumber(arguments[a])
  for l = a + 1, last, 3 do
    local row = rows[tonumber(arguments[l])]
    row.later = row.later or {}
    table.insert(row.later, tonumber(arguments[l + 1]))
    table.insert(row.later, tonumber(arguments[l + 2]))
  end
  local holds = now >= since and now < till
  return {rows = rows, n = n, holds = holds, till = till, ahead = ahead, plain = plain, leases = leases,
    changes = changes}, last + 1
end
