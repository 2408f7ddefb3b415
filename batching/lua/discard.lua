-- discard: forget a dead letter because a person decided so.
-- KEYS[1]  hash    stats
-- KEYS[2]  zset    dead
-- KEYS[3]  list    d:<batch>: why, as JSON, then the messages
-- ARGV[1]  batch id
-- ARGV[2]  reason: discarded or erased
-- Returns     messages forgotten; -1 if there is no such dead letter.
-- Complexity  O(log N + M), N = dead letters, M = messages.
local batch, reason = ARGV[1], ARGV[2]
if redis.call("ZREM", KEYS[2], batch) == 0 then
  return -1
end
local count = redis.call("LLEN", KEYS[3]) - 1
redis.call("DEL", KEYS[3])
redis.call("HINCRBY", KEYS[1], "dead", -count)
redis.call("HINCRBY", KEYS[1], "suppressed", count)
redis.call("HINCRBY", KEYS[1], "suppressed:" .. reason, count)
return count
