-- POST a body of BODY_BYTES bytes that starts with BODY_HEAD; print the result as a line of JSON.
local head = os.getenv("BODY_HEAD") or ""
wrk.method = "POST"
wrk.body = head .. string.rep("x", tonumber(os.getenv("BODY_BYTES")) - #head)
wrk.headers["Content-Type"] = "text/plain"
local api_key = os.getenv("API_KEY") or ""
if api_key ~= "" then
    wrk.headers["Authorization"] = "Bearer " .. api_key
end

-- Start the connections spread over SPREAD_MS; started together they would stay synchronised.
local spread_ms = tonumber(os.getenv("SPREAD_MS") or "0")
-- Or send PACE_PER_S requests per second over all connections.
local pace_per_s = tonumber(os.getenv("PACE_PER_S") or "0")
local begun = 0

if pace_per_s > 0 then
    local ffi = require("ffi")
    ffi.cdef("typedef struct { long s, us; } moment_t; int gettimeofday(moment_t *, void *);")
    local moment, begin_ms = ffi.new("moment_t"), nil
    function delay()
        ffi.C.gettimeofday(moment, nil)
        local now_ms = tonumber(moment.s) * 1e3 + tonumber(moment.us) / 1e3
        begin_ms = begin_ms or now_ms
        begun = begun + 1
        return math.max(0, math.floor(begin_ms + begun / pace_per_s * 1e3 - now_ms))
    end
elseif spread_ms > 0 then
    local connections = tonumber(os.getenv("CONNECTIONS"))
    function delay()
        begun = begun + 1
        return begun < connections and math.floor(begun / connections * spread_ms) or 0
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    local percentiles = {}
    for percent in string.gmatch(os.getenv("PERCENTILES"), "[^,]+") do
        local seconds = latency:percentile(tonumber(percent)) / 1e6
        percentiles[#percentiles + 1] = string.format("[%s, %.6f]", percent, seconds)
    end
    io.write(string.format(
        'RESULT {"requests": %d, "duration_s": %.6f, "not_2xx": %d, "failed": %d, ' ..
        '"percentiles_s": [%s]}\n',
        summary.requests, summary.duration / 1e6,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        table.concat(percentiles, ", ")))
end
