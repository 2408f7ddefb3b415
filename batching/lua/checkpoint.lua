-- checkpoint: keep the reply and pass the batch on to sending.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  list    trail:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  reply, JSON list of parts
-- ARGV[5]  number of parts
-- ARGV[6]  exchange for the history, JSON
-- ARGV[7]  how long a wake-up may stay unanswered, ms
-- Returns     1; 0 if the token is not (or no longer) that of a run of generate.
-- Complexity  O(log N), N = leases.
local conversation, token, reply, parts = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local exchange, wake_up_ms = ARGV[6], ARGV[7]

local holder, state, stage, batch = unpack(redis.call("HMGET", KEYS[1],
  "token", "state", "stage", "id"))
if holder ~= token or state ~= "running" or stage ~= "generate" then
  return 0
end
redis.call("HDEL", KEYS[1], "token")
redis.call("HSET", KEYS[1], "state", "claimed", "stage", "send", "attempt", 1, "rings", 0,
  "reply", reply, "parts", parts, "part", 0, "exchange", exchange)
redis.call("ZADD", KEYS[2], now_ms + wake_up_ms, conversation)
trail(KEYS[3], "checkpoint", batch, parts)
return 1
