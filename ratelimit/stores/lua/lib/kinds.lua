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
  c = {
    view = slots_view, charge = slots_charge, undo = slots_undo, counted = slots_counted, free_at = slots_free_at,
    reset = slots_reset,
  },
}
