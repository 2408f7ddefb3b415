-- seed_seq: have a shard's numbers start no lower than the clock: none was ever given before.
-- KEYS[1]  hash    stats
-- Returns     the last number that was given, for batch ids and tokens.
-- Complexity  O(1).
local given = tonumber(redis.call("HGET", KEYS[1], "seq") or 0)
if given >= now_ms then return given end
-- Also where an append began at 1: it found a ledger that somebody had emptied.
redis.call("HSET", KEYS[1], "seq", now_ms)
return now_ms
