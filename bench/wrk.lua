-- POST a body of BODY_BYTES bytes; print the result as one line of JSON.
wrk.method = "POST"
wrk.body = string.rep("x", tonumber(os.getenv("BODY_BYTES")))
wrk.headers["Content-Type"] = "text/plain"

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests": %d, "duration_s": %.6f, "p50_s": %.6f, "p99_s": %.6f, ' ..
        '"not_2xx": %d, "failed": %d}\n',
        summary.requests, summary.duration / 1e6,
        latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
