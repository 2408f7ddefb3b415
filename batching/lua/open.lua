-- open: have a shard's numbers start no lower than the clock, so that none was ever given before.
-- KEYS[1]  hash    stats
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- Returns     the last number that was given, for batch ids and tokens.
-- Complexity  O(1).
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)

local given = tonumber(redis.call("HGET", KEYS[1], "seq") or 0)
if given < now_ms then
  -- Also where an append began at 1: it found a ledger that somebody had emptied.
  redis.call("HSET", KEYS[1], "seq", now_ms)
  return now_ms
end
return given
