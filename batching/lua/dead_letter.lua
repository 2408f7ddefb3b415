-- dead_letter: make a batch a dead letter with its content and one alert; let what waited go on.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>
-- KEYS[3]  zset    due
-- KEYS[4]  zset    lease
-- KEYS[5]  hash    stats
-- KEYS[6]  zset    dead
-- KEYS[7]  list    d:<batch>: why, as JSON, then the messages
-- KEYS[8]  stream  alerts
-- KEYS[9]  zset    overdue
-- KEYS[10]  list    trail:<conversation>
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  conversation id
-- ARGV[3]  batch id
-- ARGV[4]  token
-- ARGV[5]  reason, one of batching.model.Reason
-- ARGV[6]  detail, an error code
-- Returns     {messages kept, messages lost}; {-1, 0} if the token is not the batch's.
-- Complexity  O(log N), N = leases; content moves by RENAME.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local conversation, batch, token, reason = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local id, holder, account, count, stage, attempt, part, parts = unpack(redis.call("HMGET", KEYS[1],
  "id", "token", "account", "count", "stage", "attempt", "part", "parts"))
if id ~= batch or holder ~= token then
  return {-1, 0}
end
local kept = redis.call("LLEN", KEYS[2])
local lost = math.max(0, count - kept)
local why = {conversation = conversation, account = account, reason = reason, detail = ARGV[6],
  stage = stage, attempt = attempt, part = part or "", parts = parts or "", at_ms = now_ms}
if kept > 0 then redis.call("RENAME", KEYS[2], KEYS[7]) end
redis.call("LPUSH", KEYS[7], cjson.encode(why))
redis.call("ZADD", KEYS[6], now_ms, batch)
redis.call("XADD", KEYS[8], "*", "kind", reason, "detail", ARGV[6], "account", account,
  "conversation", conversation, "batch", batch, "kept", kept, "lost", lost, "at_ms", now_ms)
redis.call("HINCRBY", KEYS[5], "flight", 0 - count)
redis.call("HINCRBY", KEYS[5], "dead", kept)
redis.call("HINCRBY", KEYS[5], "lost", lost)
redis.call("HINCRBY", KEYS[5], "dead:" .. reason, count)
redis.call("ZREM", KEYS[4], conversation)
redis.call("ZREM", KEYS[9], conversation .. ":" .. batch)
redis.call("RPUSH", KEYS[10], now_ms .. " dead_letter " .. batch .. " " .. reason .. " " .. ARGV[6])
redis.call("PEXPIRE", KEYS[10], 604800000)
redis.call("HDEL", KEYS[1], "id", "count", "first", "limits", "state", "stage", "attempt",
  "rings", "token", "reply", "parts", "part", "exchange", "policy", "resent")
local first_ms, last_ms, waiting, stamp = unpack(redis.call("HMGET", KEYS[1],
  "open_first", "open_last", "open_count", "open_limits"))
if not waiting then
  redis.call("DEL", KEYS[1])
  return {kept, lost}
end
local idle_ms, max_messages, max_wait_ms = string.match(stamp, "^(%d+) (%d+) (%d+)")
local due_ms = math.min(last_ms + idle_ms, first_ms + max_wait_ms)
if tonumber(waiting) >= tonumber(max_messages) then due_ms = last_ms end
redis.call("ZADD", KEYS[3], due_ms, conversation)
return {kept, lost}
