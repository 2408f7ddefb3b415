-- finish: end a batch as answered or suppressed, forget its content, let what waited go on.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>
-- KEYS[3]  zset    due
-- KEYS[4]  zset    lease
-- KEYS[5]  hash    stats
-- KEYS[6]  list    history:<conversation>, oldest exchange first
-- KEYS[7]  zset    overdue
-- KEYS[8]  list    trail:<conversation>
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  why it was suppressed; "" if it was answered
-- ARGV[5]  most exchanges kept in the history
-- ARGV[6]  age at which the history is forgotten, ms
-- Returns     1; 0 if the token is not (or no longer) the holder's, or parts are still to be sent.
-- Complexity  O(log N + M), N = leases, M = messages of the batch.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local conversation, token, reason = ARGV[2], ARGV[3], ARGV[4]
local holder, state, count, part, parts, exchange, batch = unpack(redis.call("HMGET", KEYS[1],
  "token", "state", "count", "part", "parts", "exchange", "id"))
if holder ~= token or state ~= "running" then
  return 0
end
if reason == "" and (not parts or tonumber(part) < tonumber(parts)) then
  return 0
end
if reason == "" then
  redis.call("RPUSH", KEYS[6], exchange)
  redis.call("LTRIM", KEYS[6], -ARGV[5], -1)
  redis.call("PEXPIRE", KEYS[6], ARGV[6])
  redis.call("HINCRBY", KEYS[5], "answered", count)
else
  redis.call("HINCRBY", KEYS[5], "suppressed", count)
  redis.call("HINCRBY", KEYS[5], "suppressed:" .. reason, count)
end
redis.call("HINCRBY", KEYS[5], "flight", 0 - count)
redis.call("DEL", KEYS[2])
redis.call("ZREM", KEYS[4], conversation)
redis.call("ZREM", KEYS[7], conversation .. ":" .. batch)
redis.call("RPUSH", KEYS[8], now_ms .. " finish " .. batch .. " " .. reason)
redis.call("PEXPIRE", KEYS[8], 604800000)
redis.call("HDEL", KEYS[1], "id", "count", "first", "limits", "state", "stage", "attempt",
  "rings", "token", "reply", "parts", "part", "exchange", "policy", "resent")
local first_ms, last_ms, waiting, stamp = unpack(redis.call("HMGET", KEYS[1],
  "open_first", "open_last", "open_count", "open_limits"))
if not waiting then
  redis.call("DEL", KEYS[1])
  return 1
end
local idle_ms, max_messages, max_wait_ms = string.match(stamp, "^(%d+) (%d+) (%d+)")
local due_ms = math.min(last_ms + idle_ms, first_ms + max_wait_ms)
if tonumber(waiting) >= tonumber(max_messages) then due_ms = last_ms end
redis.call("ZADD", KEYS[3], due_ms, conversation)
return 1
