-- stop: keep an account from sending for a while, and tell a person once.
-- KEYS[1]  string  stopped:<account>
-- KEYS[2]  string  told:<account>:channel_stopped, there for an hour after such an alert
-- KEYS[3]  stream  alerts
-- KEYS[4]  hash    stats
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  account id
-- ARGV[3]  detail, an error code
-- ARGV[4]  how long until it is tried again, ms
-- Returns     1 if a person was told now; 0 if that was done within the hour.
-- Complexity  O(1).
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)

redis.call("SET", KEYS[1], ARGV[3], "NX", "PX", ARGV[4])
if not redis.call("SET", KEYS[2], ARGV[3], "NX", "PX", 3600000) then
  return 0
end
redis.call("XADD", KEYS[3], "*", "kind", "channel_stopped", "detail", ARGV[3],
  "account", ARGV[2], "at_ms", now_ms)
redis.call("HINCRBY", KEYS[4], "channel_stopped", 1)
return 1
