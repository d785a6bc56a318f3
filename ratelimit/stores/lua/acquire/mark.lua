-- What each caller is told, and the marker.

if charged == everybody and nothing_ahead then
  mark(now_text)
elseif charged > 0 then
  mark(now_text .. ' ' .. table.concat(noted, ' '))
end
return reply
