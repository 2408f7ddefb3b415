-- erase: forget all that is kept of a conversation but its dead letters (see discard).
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    o:<conversation>
-- KEYS[3]  list    f:<conversation>
-- KEYS[4]  zset    seen:<conversation>
-- KEYS[5]  list    history:<conversation>
-- KEYS[6]  string  takeover:<conversation>
-- KEYS[7]  zset    due
-- KEYS[8]  zset    lease
-- KEYS[9]  hash    stats
-- KEYS[10]  zset    overdue
-- KEYS[11]  list    trail:<conversation>
-- KEYS[12]  zset    answered:<conversation>
-- KEYS[13]  zset    handovers
-- KEYS[14]  hash    handover:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  key prefix of the shard; answered:<conversation>:<batch> and watched:<account> are made
--          from it
-- Returns     {open messages, messages in flight, exchanges, message digests} forgotten.
-- Complexity  O(log N + M), N = conversations due or leased, M = messages.
local conversation, prefix = ARGV[2], ARGV[3]
local open, flight, open_id, id = unpack(redis.call("HMGET", KEYS[1],
  "open_count", "count", "open_id", "id"))
-- Content whose hash vanished is in the counters too.
open = math.max(open or 0, redis.call("LLEN", KEYS[2]))
flight = math.max(flight or 0, redis.call("LLEN", KEYS[3]))
local exchanges, digests = redis.call("LLEN", KEYS[5]), redis.call("ZCARD", KEYS[4])
for _, member in ipairs(redis.call("ZRANGE", KEYS[12], 0, -1)) do
  local batch, account = string.match(member, "^(%w+):(.*)$")
  redis.call("DEL", prefix .. "answered:" .. conversation .. ":" .. batch)
  redis.call("ZREM", prefix .. "watched:" .. account, conversation .. ":" .. batch)
end
redis.call("DEL", KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[11], KEYS[12],
  KEYS[14])
redis.call("ZREM", KEYS[13], conversation)
if open_id then redis.call("ZREM", KEYS[10], conversation .. ":" .. open_id) end
if id then redis.call("ZREM", KEYS[10], conversation .. ":" .. id) end
redis.call("ZREM", KEYS[7], conversation)
redis.call("ZREM", KEYS[8], conversation)
redis.call("HINCRBY", KEYS[9], "open", 0 - open)
redis.call("HINCRBY", KEYS[9], "flight", 0 - flight)
redis.call("HINCRBY", KEYS[9], "suppressed", open + flight)
redis.call("HINCRBY", KEYS[9], "suppressed:erased", open + flight)
redis.call("HINCRBY", KEYS[9], "erasures", 1)
return {open, flight, exchanges, digests}
