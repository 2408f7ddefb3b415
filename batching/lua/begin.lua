-- begin: take one attempt of a batch under a fencing token, with all that it needs.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>, oldest first
-- KEYS[3]  zset    lease
-- KEYS[4]  hash    stats
-- KEYS[5]  string  takeover:<conversation>
-- KEYS[6]  list    trail:<conversation>
-- KEYS[7]  hash    limits
-- KEYS[8]  hash    links:<conversation>
-- KEYS[9]  hash    handover:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  batch id
-- ARGV[4]  stage: generate or send
-- ARGV[5]  attempt
-- Returns     {now ms, token, account, first ms, limits as JSON or their id if no JSON is kept,
--             count, reply JSON or "", part, 1 if a person has taken over, when the customer last
--             wrote, ms, tries that failed for what the provider lacked, the apology or "", links
--             {field, value ...}, {the batch by which a person is awaited, since when, ms, and
--             the id to write to; or nothing}, 1 if it is to be put back (see supersede), message
--             JSON ...}; {} if the attempt is over or in other hands.
-- Complexity  O(log N + M), N = leases, M = messages of the batch.
local conversation, batch, stage, attempt = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local id, its_stage, its_attempt, state, account, first_ms, limits_id, count, reply, part, heard,
  tries, apology = unpack(redis.call("HMGET", KEYS[1], "id", "stage", "attempt", "state", "account",
    "first", "limits", "count", "reply", "part", "heard", "tries", "apology"))
if id ~= batch or its_stage ~= stage or its_attempt ~= attempt or state ~= "claimed"
  or not is_whole(KEYS[1]) then
  return {}
end
local token = redis.call("HINCRBY", KEYS[4], "seq", 1)
redis.call("HSET", KEYS[1], "state", "running", "token", token)
redis.call("HDEL", KEYS[1], "late")
trail(KEYS[6], "begin", batch, stage, attempt)
redis.call("ZADD", KEYS[3], now_ms + limits_of(KEYS[7], limits_id).lease_ms, conversation)
local limits = redis.call("HGET", KEYS[7], limits_id) or limits_id
local run = {now_ms, tostring(token), account, tonumber(first_ms), limits, tonumber(count),
  reply or "", tonumber(part or 0), redis.call("EXISTS", KEYS[5]), tonumber(heard or first_ms),
  tonumber(tries or 0), apology or "", redis.call("HGETALL", KEYS[8]),
  redis.call("HMGET", KEYS[9], "batch", "since", "address"),
  is_superseded(KEYS[1], KEYS[7], KEYS[9]) and 1 or 0}
for _, message in ipairs(redis.call("LRANGE", KEYS[2], 0, -1)) do
  run[#run + 1] = message
end
return run
