-- Sends the bodies of a file, one per line, in turn. Prints one line of JSON at the end.
-- Each body is followed by white space that encodes a number in spaces and tabs, different for every request, so that a server
-- with a cache has never seen it; with a second argument "repeated" there is no white space. A line of a number and hexadecimal digits
-- is a body with binary tensors, after that many bytes of JSON.
local requests, at = {}, 0
local pads = {}
local WIDTH = 10

local function spelled(number, width)
  local signs = {}
  for bit = 1, width do
    signs[bit] = number % 2 == 0 and " " or "\t"
    number = math.floor(number / 2)
  end
  return table.concat(signs)
end

local function read(line)
  local length, digits = line:match("^(%d+) (%x+)$")
  if not length then
    return { ["Content-Type"] = "application/json" }, line
  end
  local body = digits:gsub("%x%x", function(two) return string.char(tonumber(two, 16)) end)
  return { ["Inference-Header-Content-Length"] = length }, body
end

function init(args)
  local fresh = args[2] ~= "repeated"
  local run = fresh and spelled(tonumber(args[2]), 24) or ""
  for line in io.lines(args[1]) do
    local headers, body = read(line)
    local whole = wrk.format("POST", nil, headers, fresh and body .. run .. spelled(0, 2 * WIDTH) or body)
    requests[#requests + 1] = fresh and whole:sub(1, -2 * WIDTH - 1) or whole
  end
  for number = 0, 2 ^ WIDTH - 1 do
    pads[number] = fresh and spelled(number, WIDTH) or ""
  end
end

function request()
  at = at + 1
  local low = at % 2 ^ WIDTH
  return requests[at % #requests + 1] .. pads[low] .. pads[((at - low) / 2 ^ WIDTH) % 2 ^ WIDTH]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'JSON {"requests":%d,"elapsed_s":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
