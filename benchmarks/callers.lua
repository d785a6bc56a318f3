-- What wrk's connections send: GET /items/<id> with X-API-Key: key-<n>.
-- Arguments: how many API keys, how many item ids, and perhaps how many ms a connection pauses on average before a request,
-- at random, as many callers who know nothing of each other do. All requests are written before the first is sent.

local requests, last = {}, 0

function init(arguments)
  local callers, items = tonumber(arguments[1]), tonumber(arguments[2])
  local pause = tonumber(arguments[3]) or 0
  if pause > 0 then -- wrk looks whether there is a function, not what it gives
    function delay()
      return math.floor(-pause * math.log(1 - math.random()) + 0.5)
    end
  end
  for i = 0, items - 1 do
    requests[i + 1] = wrk.format("GET", "/items/" .. i, { ["X-API-Key"] = "key-" .. i % callers })
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

-- One line of JSON, as load.py reads it. wrk counts in microseconds.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "refused": %d, "broken": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
