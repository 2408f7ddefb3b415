-- open_circuit: stop the calls to an account's channel or model, alert once for each outage.
-- KEYS[1]  hash    circuit:<account>:<of>: code, since ms, tries, next probe ms; probe, until ms
--                  while a batch probes; late, proved, closed ms: see below and close_circuit
-- KEYS[2]  stream  alerts
-- KEYS[3]  hash    stats
-- ARGV[2]  account id
-- ARGV[3]  kind of the alert, and of the counter
-- ARGV[4]  detail, an error code
-- ARGV[5]  conversation and batch whose call failed; "" if it is learnt late, from a status
-- ARGV[6]  first pause before a probe, ms; doubles with every probe that fails
-- ARGV[7]  longest pause, ms
-- Returns     1 a person is alerted by this; 0 this outage was known.
-- Complexity  O(1).
local account, kind, detail, batch = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local tries, probe, closed, proved = unpack(redis.call("HMGET", KEYS[1],
  "tries", "probe", "closed", "proved"))
local is_late = batch == ""
-- While it is open only the probe's failure makes it longer: other calls began before.
if tries and not closed and probe ~= batch and not (is_late and proved) then return 0 end
local wait_ms = math.min(ARGV[6] * 2 ^ (tries or 0), tonumber(ARGV[7]))
redis.call("HDEL", KEYS[1], "probe", "until", "closed", "proved")
redis.call("HSET", KEYS[1], "code", detail, "tries", (tries or 0) + 1, "next", now_ms + wait_ms)
if is_late then redis.call("HSET", KEYS[1], "late", 1) end
redis.call("PEXPIRE", KEYS[1], 172800000)
if tries then return 0 end
redis.call("HSET", KEYS[1], "since", now_ms)
alert(KEYS[2], kind, detail, account)
redis.call("HINCRBY", KEYS[3], kind, 1)
return 1
