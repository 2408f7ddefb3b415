-- try_circuit: say whether a batch may call its account's channel or model now.
-- KEYS[1]  hash    circuit:<account>:<of>, see open_circuit
-- ARGV[2]  conversation and batch
-- ARGV[3]  how long a probe that ends without a word keeps others from probing, ms
-- ARGV[4]  how long others wait while a batch probes, ms
-- Returns     0 the circuit is closed; -1 it is open, and this batch alone probes; else how long
--             the batch is to wait, ms.
-- Complexity  O(1).
local batch, probe_ms, meanwhile_ms = ARGV[2], ARGV[3], ARGV[4]

local next_ms, probe, until_ms, closed = unpack(redis.call("HMGET", KEYS[1],
  "next", "probe", "until", "closed"))
if not next_ms or closed then return 0 end
if now_ms < tonumber(next_ms) then return next_ms - now_ms end
if probe and probe ~= batch and now_ms < tonumber(until_ms) then return tonumber(meanwhile_ms) end
redis.call("HSET", KEYS[1], "probe", batch, "until", now_ms + probe_ms)
return -1
