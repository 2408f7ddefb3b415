-- begin: take one attempt of a batch under a fencing token, with all that it needs.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>, oldest first
-- KEYS[3]  zset    lease
-- KEYS[4]  hash    stats
-- KEYS[5]  string  takeover:<conversation>
-- KEYS[6]  list    trail:<conversation>
-- KEYS[7]  hash    limits
-- ARGV[2]  conversation id
-- ARGV[3]  batch id
-- ARGV[4]  stage: generate or send
-- ARGV[5]  attempt
-- Returns     {1, now ms, token, account, first ms, limits as JSON or their id if no JSON is kept,
--             count, reply JSON or "", part, 1 if a person has taken over, message JSON ...};
--             {0} stale; {-1} busy.
-- Complexity  O(log N + M), N = leases, M = messages of the batch.
local conversation, batch, stage, attempt = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local flight = redis.call("HMGET", KEYS[1], "id", "stage", "attempt", "state",
  "account", "first", "limits", "count", "reply", "part")
if flight[1] ~= batch or flight[2] ~= stage or flight[3] ~= attempt then
  return {0}
end
if flight[4] ~= "claimed" then
  return {(flight[4] == "running" or flight[4] == "sending") and -1 or 0}
end
local token = redis.call("HINCRBY", KEYS[4], "seq", 1)
redis.call("HSET", KEYS[1], "state", "running", "token", token)
trail(KEYS[6], "begin", batch, stage, attempt)
redis.call("ZADD", KEYS[3], now_ms + limits_of(KEYS[7], flight[7]).lease_ms, conversation)
local limits = redis.call("HGET", KEYS[7], flight[7]) or flight[7]
local run = {1, now_ms, tostring(token), flight[5], tonumber(flight[6]), limits,
  tonumber(flight[8]), flight[9] or "", tonumber(flight[10] or 0),
  redis.call("EXISTS", KEYS[5])}
for _, message in ipairs(redis.call("LRANGE", KEYS[2], 0, -1)) do
  run[#run + 1] = message
end
return run
