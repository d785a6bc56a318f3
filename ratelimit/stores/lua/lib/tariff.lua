-- A tariff: what many callers of a call have in common.
--
-- tariff  rows, one a charge, and n of them; holds, whether it is for now; till, until when; plain, whether each of its charges
--         costs something; simple, the same where nothing else is to be done once it may pass; repeats, the same where no two
--         of its callers differ but by their keys; changes, whether it may deny later what it admits now; keys, how many a
--         caller has; arguments, how many, and skips, how many of them come before its lease ids; mode
-- row     kind, and its view and charge; cost; max; shadow_until, and shadow, whether it is one now; first and second, which
--         mean what the kind says; later, nil or the maxes to come, each after its instant; key, which of the caller's keys is
--         its counter; record, whether the next is the record of what is held; lease, which of the lease ids is for it; seen,
--         how its counter was found, of one caller after the other

-- The tariff whose arguments begin at a, and where they end. `kind_of` is by a letter. The texts come from our own process: to
-- count with them makes numbers of them, in half the time that tonumber takes, which reads each twice.
local function tariff_at(arguments, a, kind_of, now)
  local since, till, mode = arguments[a] + 0, arguments[a + 1] + 0, arguments[a + 2]
  local n, skips, keys, leases, plain, changes = arguments[a + 3] + 0, 0, 0, 0, true, false
  local rows, acquires = {}, mode == 'decide' or mode == 'ahead'
  a = a + 4
  for c = 1, n do
    local kind, cost, shadow_until = kind_of(arguments[a]), arguments[a + 1] + 0, arguments[a + 3] + 0
    local record = not kind
    kind = kind or kind_of(string.lower(arguments[a]))
    local row = {
      kind = kind, view = kind.view, charge = kind.charge, cost = cost, max = arguments[a + 2] + 0,
      shadow_until = shadow_until, shadow = shadow_until > 0, first = arguments[a + 4] + 0,
      second = arguments[a + 5] + 0, key = keys + 1, record = record,
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
  local last = a + 3 * arguments[a]
  for l = a + 1, last, 3 do
    local row = rows[arguments[l] + 0]
    row.later = row.later or {}
    table.insert(row.later, arguments[l + 1] + 0)
    table.insert(row.later, arguments[l + 2] + 0)
    changes = true
  end
  local holds = now >= since and now < till
  local tariff = {rows = rows, n = n, holds = holds, till = till, plain = plain, changes = changes, keys = keys}
  if mode ~= 'decide' then
    skips = mode == 'hold' and 2 or 1
  end
  tariff.simple, tariff.repeats = plain and acquires, plain and mode == 'decide' and leases == 0 and keys == n
  tariff.mode, tariff.skips, tariff.arguments = mode, skips, skips + leases
  return tariff, last + 1
end

-- Takes back what the caller whose keys come after `before` was charged by the time of an error.
local function tariff_undo(tariff, keys, before, drop_held)
  for c = 1, tariff.n do
    local row = tariff.rows[c]
    if row.seen.held then
      drop_held(keys[before + row.key + 1], row.seen.held)
    end
    if row.seen.charged then
      row.kind.undo(keys[before + row.key], row, row.seen)
    end
  end
end
