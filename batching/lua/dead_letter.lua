-- dead_letter: make a batch a dead letter with one alert, schedule the next open batch.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>
-- KEYS[3]  zset    due
-- KEYS[4]  zset    lease
-- KEYS[5]  hash    stats
-- KEYS[6]  zset    dead
-- KEYS[7]  list    d:<batch>: the header, JSON, then the messages
-- KEYS[8]  stream  alerts
-- KEYS[9]  zset    overdue
-- KEYS[10]  list    trail:<conversation>
-- KEYS[11]  hash    limits
-- ARGV[2]  conversation id
-- ARGV[3]  batch id
-- ARGV[4]  token
-- ARGV[5]  reason, one of batching.model.Reason
-- ARGV[6]  detail, an error code
-- Returns     {messages kept, messages lost}; nothing if the token is not the batch's.
-- Complexity  O(log N), N = leases; content moves by RENAME.
local conversation, batch, token, reason, detail = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local id, holder, account, count, stage, attempt, part, parts = unpack(redis.call("HMGET", KEYS[1],
  "id", "token", "account", "count", "stage", "attempt", "part", "parts"))
if id ~= batch or holder ~= token then
  return false
end
local kept = redis.call("LLEN", KEYS[2])
local lost = math.max(0, count - kept)
local header = {conversation = conversation, account = account, reason = reason, detail = detail,
  stage = stage, attempt = attempt, part = part or "", parts = parts or "", at_ms = now_ms}
if kept > 0 then redis.call("RENAME", KEYS[2], KEYS[7]) end
redis.call("LPUSH", KEYS[7], cjson.encode(header))
redis.call("ZADD", KEYS[6], now_ms, batch)
alert(KEYS[8], reason, detail, account, conversation, batch, kept, lost)
redis.call("HINCRBY", KEYS[5], "flight", 0 - count)
redis.call("HINCRBY", KEYS[5], "dead", kept)
redis.call("HINCRBY", KEYS[5], "lost", lost)
redis.call("HINCRBY", KEYS[5], "dead:" .. reason, count)
redis.call("ZREM", KEYS[4], conversation)
redis.call("ZREM", KEYS[9], conversation .. ":" .. batch)
trail(KEYS[10], "dead_letter", batch, reason, detail)
release(conversation, KEYS[1], KEYS[3], KEYS[11])
return {kept, lost}
