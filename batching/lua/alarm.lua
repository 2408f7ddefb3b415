-- alarm: tell a person that something is wrong with the installation, not more often than asked.
-- KEYS[1]  string  told:<account>:<kind>, there for a while after such an alarm
-- KEYS[2]  stream  alerts
-- KEYS[3]  hash    stats
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  kind
-- ARGV[3]  detail, in plain words
-- ARGV[4]  account id; "" if it is about the whole installation
-- ARGV[5]  how long the next alarm of this kind is held back, ms
-- Returns     1 told; 0 it was told lately.
-- Complexity  O(1).
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)

if not redis.call("SET", KEYS[1], ARGV[3], "NX", "PX", ARGV[5]) then
  return 0
end
redis.call("XADD", KEYS[2], "*", "kind", ARGV[2], "detail", ARGV[3], "account", ARGV[4],
  "at_ms", now_ms)
redis.call("HINCRBY", KEYS[3], "alarms", 1)
return 1
