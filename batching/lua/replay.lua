-- replay: put a dead letter back in front of what its customer has written since.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    o:<conversation>
-- KEYS[3]  zset    due
-- KEYS[4]  hash    stats
-- KEYS[5]  zset    dead
-- KEYS[6]  list    d:<batch>: the header, JSON, then the messages
-- KEYS[7]  zset    overdue
-- KEYS[8]  list    trail:<conversation>
-- KEYS[9]  hash    limits
-- ARGV[2]  conversation id
-- ARGV[3]  batch id
-- ARGV[4]  account id
-- ARGV[5]  id of the limits for a batch opened by this
-- ARGV[6]  these limits, JSON
-- ARGV[7]  most messages a conversation may hold unanswered
-- Returns     messages put back; -1 if there is no such dead letter; -2 if they are too many for
--             what the conversation holds already.
-- Complexity  O(log N + M), N = due conversations, M = messages.
local conversation, batch, account, limits_id = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if not redis.call("ZSCORE", KEYS[5], batch) then return -1 end
local count = redis.call("LLEN", KEYS[6]) - 1
local waiting, flying, open_id = unpack(redis.call("HMGET", KEYS[1],
  "open_count", "count", "open_id"))
local held = (waiting or 0) + (flying or 0)
-- Into an empty conversation it fits whatever its size: nothing would ever make more room.
if held > 0 and held + count > tonumber(ARGV[7]) then return -2 end
redis.call("ZREM", KEYS[5], batch)
redis.call("LPOP", KEYS[6])
for _ = 1, count do
  redis.call("RPOPLPUSH", KEYS[6], KEYS[2])
end
if count < 1 then return 0 end
if not open_id then
  open_id = "b" .. redis.call("HINCRBY", KEYS[4], "seq", 1)
  redis.call("HSETNX", KEYS[9], limits_id, ARGV[6])
  local overdue_ms = now_ms + limits_of(KEYS[9], limits_id).overdue_ms
  -- The person decides anew whether it can be answered, however old it is.
  redis.call("HSET", KEYS[1], "account", account, "open_id", open_id, "open_last", now_ms,
    "open_first", now_ms, "open_heard", now_ms, "open_limits", limits_id)
  redis.call("ZADD", KEYS[7], overdue_ms, conversation .. ":" .. open_id)
end
trail(KEYS[8], "replay", batch, open_id)
redis.call("HINCRBY", KEYS[1], "open_count", count)
redis.call("HINCRBY", KEYS[4], "dead", 0 - count)
redis.call("HINCRBY", KEYS[4], "open", count)
redis.call("HINCRBY", KEYS[4], "replayed", count)
if redis.call("HEXISTS", KEYS[1], "id") == 0 then
  redis.call("ZADD", KEYS[3], now_ms, conversation)
end
return count
