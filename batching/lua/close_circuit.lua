-- close_circuit: let the calls to an account's channel or model go on: its probe succeeded.
-- KEYS[1]  hash    circuit:<account>:<of>, see open_circuit
-- ARGV[2]  conversation and batch that probed
-- ARGV[3]  how long a failure may take that is learnt late, from a status, ms
-- ARGV[4]  for how long a circuit that opens again goes on with the outage before, ms
-- Returns     how long the outage lasted, ms, at least 1; 0 if it is not over, or was none.
-- Complexity  O(1).
local since_ms, probe, late = unpack(redis.call("HMGET", KEYS[1], "since", "probe", "late"))
if not since_ms or probe ~= ARGV[2] then return 0 end
redis.call("HDEL", KEYS[1], "probe", "until", "late")
if late then
  -- Its success may be taken back by a status: one more batch probes after that time.
  redis.call("HSET", KEYS[1], "proved", 1, "next", now_ms + ARGV[3])
  return 0
end
redis.call("HSET", KEYS[1], "closed", now_ms)
redis.call("PEXPIRE", KEYS[1], ARGV[4])
return math.max(1, now_ms - since_ms)
