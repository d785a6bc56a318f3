-- The marker is written where something was charged: then no write is refused any more. A day is longer than an outage.

if charged > 0 then
  local text = number .. ' ' .. now_text
  if charged < everybody or not nothing_ahead then
    text = text .. ' ' .. table.concat(noted, ' ')
  end
  call('SET', marker, text, 'EX', '86400')
end
return reply
