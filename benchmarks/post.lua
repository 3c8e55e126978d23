-- Posts the lines of a file as JSON, one after another and again from the first. Ends with its figures as a line of JSON.
--
--   wrk --script benchmarks/post.lua URL -- FILE [REQUESTS_PER_SECOND]
--
-- With a rate, a request is sent when the schedule has it, or at once if it is late. Otherwise each connection sends
-- its next request when it has the answer to the last one.

local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds; long microseconds; } moment;
  int gettimeofday(moment *now, void *zone);
]])
local moment = ffi.new("moment")
local requests, sent = {}, 0

local function milliseconds()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.seconds) * 1000 + tonumber(moment.microseconds) / 1000
end

-- Defines wrk's global `delay`: milliseconds from now to the next request of the schedule.
local function keep_rate(rate)
  local gap, planned = 1000 / rate, milliseconds()
  function delay()
    local now = milliseconds()
    planned = math.max(planned + gap, now - 100) -- a longer delay is not made up for
    return math.max(0, math.floor(planned - now + 0.5))
  end
end

function init(arguments)
  local headers = { ["Content-Type"] = "application/json" }
  for line in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, line)
  end
  local rate = tonumber(arguments[2] or "0")
  if rate > 0 then
    keep_rate(rate)
  end
end

function request()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
  local errors = summary.errors
  local without_answer = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format(
    '{"answers": %d, "seconds": %.6f, "p50_us": %d, "p95_us": %d, "p99_us": %d, "refused": %d, "unanswered": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    errors.status, without_answer))
end
