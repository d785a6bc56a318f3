-- What can be done with a counter, by the letter of its kind: see lib/rate, lib/quota and lib/slots.

local kinds_known = {
  r = {
    prepare = rate_prepare, view = rate_view, charge = rate_charge, undo = rate_undo,
    counted = rate_counted, free_at = rate_free_at, reset = rate_reset,
  },
  q = {
    prepare = quota_prepare, view = quota_view, charge = quota_charge, undo = quota_undo,
    counted = quota_counted, free_at = quota_free_at, reset = quota_reset,
  },
}

-- Slots are made for the first that has them: without its functions a call of one caller takes 5 % less.
local function kinds_slots()
  -- include lib/slots
  return {
    view = slots_view, charge = slots_charge, undo = slots_undo, counted = slots_counted, free_at = slots_free_at,
    reset = slots_reset,
  }
end

local function kinds_of(letter)
  if letter == 'c' and not kinds_known.c then
    kinds_known.c = kinds_slots()
  end
  return kinds_known[letter]
end
