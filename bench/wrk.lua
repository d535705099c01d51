-- POST a body of BODY_BYTES bytes that begins with BODY_HEAD; print the result as one line of JSON.
local head = os.getenv("BODY_HEAD") or ""
wrk.method = "POST"
wrk.body = head .. string.rep("x", tonumber(os.getenv("BODY_BYTES")) - #head)
wrk.headers["Content-Type"] = "text/plain"

-- Begin one after the other within SPREAD_MS: all at once they would stay in step for ever.
local spread_ms = tonumber(os.getenv("SPREAD_MS") or "0")
if spread_ms > 0 then
    local connections, begun = tonumber(os.getenv("CONNECTIONS")), 0
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
