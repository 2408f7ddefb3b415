-- discard: forget a dead letter because a person decided so.
-- KEYS[1]  hash    stats
-- KEYS[2]  zset    dead
-- KEYS[3]  list    d:<batch>: the header, JSON, then the messages
-- KEYS[4]  list    trail:<conversation>
-- ARGV[2]  batch id
-- ARGV[3]  reason: discarded, or erased, of which no trail is kept
-- Returns     messages forgotten; -1 if there is no such dead letter.
-- Complexity  O(log N + M), N = dead letters, M = messages.
local batch, reason = ARGV[2], ARGV[3]

if redis.call("ZREM", KEYS[2], batch) == 0 then
  return -1
end
local count = math.max(0, redis.call("LLEN", KEYS[3]) - 1)
redis.call("DEL", KEYS[3])
redis.call("HINCRBY", KEYS[1], "dead", 0 - count)
redis.call("HINCRBY", KEYS[1], "suppressed", count)
redis.call("HINCRBY", KEYS[1], "suppressed:" .. reason, count)
if reason ~= "erased" then trail(KEYS[4], "discard", batch) end
return count
