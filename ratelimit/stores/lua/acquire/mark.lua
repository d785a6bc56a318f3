-- The marker is written where something was charged: then no write is refused any more. A day is longer than an outage.

if charged > 0 then
  local text = number .. ' ' .. now_text
  if charged < everybody or not nothing_ahead then
    text = text .. ' ' .. table.concat(noted, ' ')
  end
  redis.pcall('SET', marker, text, 'EX', '86400') -- of a user who may not: an error would say that nothing was done
end
return reply
