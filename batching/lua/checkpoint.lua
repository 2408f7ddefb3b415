-- checkpoint: keep the reply and pass the batch on to sending.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  list    trail:<conversation>
-- KEYS[4]  hash    stats
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  reply, JSON list of parts
-- ARGV[5]  number of parts
-- ARGV[6]  exchange for the history, JSON
-- ARGV[7]  how long a wake-up may stay unanswered, ms
-- ARGV[8]  "" for an answer; else the reply is an apology: why the batch is a dead letter when it
--          was sent. Its parts are one more than it has, so that no release finishes it as answered
-- Returns     1; 0 if the token is not that of a run of generate, or another has begun since.
-- Complexity  O(log N), N = leases.
local conversation, token, reply, parts = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local exchange, wake_up_ms, apology = ARGV[6], ARGV[7], ARGV[8]

local holder, state, stage, batch, late, account = unpack(redis.call("HMGET", KEYS[1],
  "token", "state", "stage", "id", "late", "account"))
-- Its lease ran out while the ledger could not be reached, and nobody has taken the batch since.
local is_late = late == token and state == "claimed"
if stage ~= "generate" or not (is_late or holder == token and state == "running") then
  return 0
end
redis.call("HDEL", KEYS[1], "token", "late", "tries")
redis.call("HSET", KEYS[1], "state", "claimed", "stage", "send", "attempt", 1, "rings", 0,
  "reply", reply, "parts", parts, "part", 0, "exchange", exchange)
if apology ~= "" then redis.call("HSET", KEYS[1], "apology", apology, "parts", parts + 1)
else redis.call("HSET", KEYS[4], "generated_ms:" .. account, now_ms) end
redis.call("ZADD", KEYS[2], now_ms + wake_up_ms, conversation)
trail(KEYS[3], "checkpoint", batch, parts)
return 1
