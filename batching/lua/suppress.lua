-- suppress: account a message that asks for no answer, such as a reaction.
-- KEYS[1]  zset    seen:<conversation>, message digest -> ms
-- KEYS[2]  hash    stats
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  message digest
-- ARGV[3]  why it asks for no answer
-- ARGV[4]  age at which a digest is forgotten, ms
-- ARGV[5]  most digests kept
-- Returns     1; 0 if it is a duplicate.
-- Complexity  O(log N), N = digests kept.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)

if redis.call("ZSCORE", KEYS[1], ARGV[2]) then
  redis.call("HINCRBY", KEYS[2], "duplicate", 1)
  return 0
end
redis.call("ZADD", KEYS[1], now_ms, ARGV[2])
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now_ms - ARGV[4])
redis.call("ZREMRANGEBYRANK", KEYS[1], 0, -ARGV[5] - 1)
redis.call("PEXPIRE", KEYS[1], ARGV[4])
redis.call("HINCRBY", KEYS[2], "accepted", 1)
redis.call("HINCRBY", KEYS[2], "suppressed", 1)
redis.call("HINCRBY", KEYS[2], "suppressed:" .. ARGV[3], 1)
return 1
