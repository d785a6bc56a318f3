-- A tariff: what many callers of a call have in common.
--
-- tariff  rows, one a charge, and n of them; holds, whether it is for now; till, until when; plain, whether each of its charges
--         costs something; changes, whether it may deny later what it admits now; keys, how many a caller has; arguments, how
--         many, and skips, how many of them come before its lease ids; mode
-- row     kind, and its view and charge; cost; max; shadow_until, and shadow, whether it is one now; first and second, which
--         mean what the kind says; later, nil or the maxes to come, each after its instant; key, which of the caller's keys is
--         its counter; record, whether the next is the record of what is held; lease, which of the lease ids is for it; seen,
--         how its counter was found, of one caller after the other

-- The tariff whose arguments begin at a, and where they end. `kinds` are by their letters.
local function tariff_at(arguments, a, kinds, now)
  local since, till, mode = tonumber(arguments[a]), tonumber(arguments[a + 1]), arguments[a + 2]
  local n, skips, keys, leases, plain, changes = tonumber(arguments[a + 3]), 0, 0, 0, true, false
  local rows, acquires = {}, mode == 'decide' or mode == 'ahead'
  a = a + 4
  for c = 1, n do
    local kind, cost, shadow_until = kinds[arguments[a]], tonumber(arguments[a + 1]), tonumber(arguments[a + 3])
    local record = not kind
    kind = kind or kinds[string.lower(arguments[a])]
    local row = {
      kind = kind, view = kind.view, charge = kind.charge, cost = cost, max = tonumber(arguments[a + 2]),
      shadow_until = shadow_until, shadow = shadow_until > 0, first = tonumber(arguments[a + 4]),
      second = tonumber(arguments[a + 5]), key = keys + 1, record = record,
      seen = {used = 0, cost = 0, exceeded = false, retry = 0, charged = false},
    }
    rows[c] = row
    keys = keys + (record and 2 or 1)
    plain = plain and cost > 0
    changes = changes or shadow_until > 0 and shadow_until < WHOLE_LARGEST
    if kind.prepare then
      kind.prepare(row, now)
    elseif cost > 0 and acquires then
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
    changes = true
  end
  local holds = now >= since and now < till
  local tariff = {rows = rows, n = n, holds = holds, till = till, plain = plain, changes = changes, keys = keys}
  if mode ~= 'decide' then
    skips = mode == 'hold' and 2 or 1
  end
  tariff.mode, tariff.skips, tariff.arguments = mode, skips, skips + leases
  return tariff, last + 1
end
