-- replay: put a dead letter back in front of what its customer has written since.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    o:<conversation>
-- KEYS[3]  zset    due
-- KEYS[4]  hash    stats
-- KEYS[5]  zset    dead
-- KEYS[6]  list    d:<batch>: why, as JSON, then the messages
-- KEYS[7]  zset    overdue
-- KEYS[8]  list    trail:<conversation>
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  conversation id
-- ARGV[3]  batch id
-- ARGV[4]  account id
-- ARGV[5]  limits stamp for a batch opened by this
-- Returns     messages put back; -1 if there is no such dead letter.
-- Complexity  O(log N + M), N = due conversations, M = messages.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local conversation, batch, account, stamp = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if redis.call("ZREM", KEYS[5], batch) == 0 then
  return -1
end
redis.call("LPOP", KEYS[6])
local count = redis.call("LLEN", KEYS[6])
for _ = 1, count do
  redis.call("RPOPLPUSH", KEYS[6], KEYS[2])
end
if count == 0 then return 0 end
if redis.call("HEXISTS", KEYS[1], "open_id") == 0 then
  redis.call("HSET", KEYS[1], "account", account, "open_id",
    "b" .. redis.call("HINCRBY", KEYS[4], "seq", 1), "open_last", now_ms, "open_limits", stamp)
end
local open_id, opened_with = unpack(redis.call("HMGET", KEYS[1], "open_id", "open_limits"))
redis.call("HSET", KEYS[1], "open_first", now_ms)
redis.call("ZADD", KEYS[7], now_ms + string.match(opened_with, "^%d+ %d+ %d+ (%d+)"),
  conversation .. ":" .. open_id)
redis.call("RPUSH", KEYS[8], now_ms .. " replay " .. batch .. " " .. open_id)
redis.call("PEXPIRE", KEYS[8], 604800000)
redis.call("HINCRBY", KEYS[1], "open_count", count)
redis.call("HINCRBY", KEYS[4], "dead", 0 - count)
redis.call("HINCRBY", KEYS[4], "open", count)
redis.call("HINCRBY", KEYS[4], "replayed", count)
if redis.call("HEXISTS", KEYS[1], "id") == 0 then
  redis.call("ZADD", KEYS[3], now_ms, conversation)
end
return count
