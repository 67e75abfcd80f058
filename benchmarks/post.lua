-- Makes wrk post one body repeatedly, count the answers other than 200, and print JSON.
-- Arguments: the file with the body, its content type.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = args[2]
  refused = 0
end

function response(status)
  if status ~= 200 then refused = refused + 1 end
end

function done(summary, latency)
  local refused, errors = 0, summary.errors
  for _, thread in ipairs(threads) do refused = refused + thread:get("refused") end
  io.write(string.format(
    '\n{"requests": %d, "refused": %d, "socket_errors": %d, "seconds": %f, "p50": %f, "p99": %f}\n',
    summary.requests, refused, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
