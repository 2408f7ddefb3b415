-- append: accept one message into the open batch of its conversation, or say why not.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    o:<conversation>, oldest first
-- KEYS[3]  zset    seen:<conversation>, message digest -> ms
-- KEYS[4]  zset    due
-- KEYS[5]  hash    stats
-- KEYS[6]  string  heartbeat
-- KEYS[7]  zset    overdue
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  message digest
-- ARGV[5]  message, JSON
-- ARGV[6]  limits stamp: "idle_ms max_messages max_wait_ms ..."
-- ARGV[7]  most messages a conversation may hold unanswered
-- ARGV[8]  age at which a digest is forgotten, ms
-- ARGV[9]  most digests kept
-- Returns     {status, batch, count, due ms, flusher's lag ms (-1: nobody flushes here)}; status:
--             1 accepted, 0 duplicate, -1 full and the id not recorded.
-- Complexity  O(log N), N = due conversations.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local conversation, stamp = ARGV[2], ARGV[6]
local idle_ms, max_messages, max_wait_ms, overdue_ms = string.match(stamp,
  "^(%d+) (%d+) (%d+) (%d+)")
if not idle_ms then return redis.error_reply("limits stamp: " .. stamp) end
local beat_ms = redis.call("GET", KEYS[6])
local lag_ms = beat_ms and math.max(0, now_ms - beat_ms) or -1
local function tally(field) redis.call("HINCRBY", KEYS[5], field, 1) end
local function refuse(why, status, count) tally(why) return {status, "", count, 0, lag_ms} end
if redis.call("ZSCORE", KEYS[3], ARGV[4]) then return refuse("duplicate", 0, 0) end
local batch, count, first_ms, opened_with, flying = unpack(redis.call("HMGET", KEYS[1],
  "open_id", "open_count", "open_first", "open_limits", "count"))
if (count or 0) + (flying or 0) >= tonumber(ARGV[7]) then
  return refuse("full", -1, tonumber(count or 0))
end

-- The id is recorded only now that the message is taken: else its redelivery would be lost.
redis.call("ZADD", KEYS[3], now_ms, ARGV[4])
redis.call("ZREMRANGEBYSCORE", KEYS[3], "-inf", now_ms - ARGV[8])
redis.call("ZREMRANGEBYRANK", KEYS[3], 0, -ARGV[9] - 1)
redis.call("PEXPIRE", KEYS[3], ARGV[8])
tally("accepted")
if not batch then
  batch, first_ms = "b" .. redis.call("HINCRBY", KEYS[5], "seq", 1), now_ms
  redis.call("HSET", KEYS[1], "account", ARGV[3], "open_id", batch, "open_first", now_ms,
    "open_limits", stamp)
  redis.call("ZADD", KEYS[7], now_ms + overdue_ms, conversation .. ":" .. batch)
elseif opened_with ~= stamp then
  tally("limits_mismatch") -- The batch keeps the limits that it was opened with.
  idle_ms, max_messages, max_wait_ms = string.match(opened_with, "^(%d+) (%d+) (%d+)")
end
redis.call("RPUSH", KEYS[2], ARGV[5])
count = redis.call("HINCRBY", KEYS[1], "open_count", 1)
redis.call("HSET", KEYS[1], "open_last", now_ms)
tally("open")
local due_ms = math.min(now_ms + idle_ms, first_ms + max_wait_ms)
if count >= tonumber(max_messages) then due_ms = now_ms end
if not flying then redis.call("ZADD", KEYS[4], due_ms, conversation) end
return {1, batch, count, due_ms, lag_ms}
