-- undelivered: a provider says that a part which left never arrived; tell a person once.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  string  sent:<provider message id>
-- KEYS[4]  stream  alerts
-- KEYS[5]  hash    stats
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  batch id
-- ARGV[5]  part, from 0
-- ARGV[6]  detail, an error code
-- ARGV[7]  how long the provider's id is remembered, ms
-- Returns     1 told; 0 it was told before, or the end of a doubt will tell.
-- Complexity  O(log N), N = leases.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local conversation, account, batch, part = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if redis.call("SET", KEYS[3], "failed", "GET", "PX", ARGV[7]) == "failed" then
  return 0
end
redis.call("HINCRBY", KEYS[5], "undelivered", 1)
local id, next_part, state = unpack(redis.call("HMGET", KEYS[1], "id", "part", "state"))
if id == batch and next_part == part and state == "ambiguous" then
  -- Now it is certain, and not sent again by itself: the next reap buries it, with its alert.
  redis.call("HSET", KEYS[1], "policy", "alert")
  redis.call("ZADD", KEYS[2], now_ms, conversation)
  return 0
end
redis.call("XADD", KEYS[4], "*", "kind", "undelivered", "detail", ARGV[6], "account", account,
  "conversation", conversation, "batch", batch, "at_ms", now_ms)
return 1
