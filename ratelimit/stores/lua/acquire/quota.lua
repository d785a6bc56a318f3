-- A quota: the count of a calendar period.

local function view_quota(c, key, r)
  local period_start, period_end = firsts[r], seconds[r]
  local fields = call('HMGET', key, 'n', 't', 'e')
  local charged_at = tonumber(fields[2]) or -1
  if charged_at >= 2 * period_end - period_start then -- more than a period ahead: it is the count of this one
    charged_at = now
    call('HSET', key, 't', now, 'e', period_end)
    call('PEXPIRE', key, period_end - now + 1000)
    fields[3] = period_end
  end
  useds[c] = charged_at >= period_start and tonumber(fields[1]) or 0
  charged_ats[c], kept_untils[c] = charged_at, tonumber(fields[3]) or 0
end

local function charge_quota(c, key, cost, r)
  local used = useds[c] + cost
  useds[c] = used
  local charged_at = charged_ats[c] > now and charged_ats[c] or now_text
  local period_end = seconds[r]
  if period_end > kept_untils[c] then
    call('HSET', key, 'n', used, 't', charged_at, 'e', period_end)
    call('PEXPIRE', key, period_end - now + 1000)
  else
    call('HSET', key, 'n', used, 't', charged_at)
  end
end
