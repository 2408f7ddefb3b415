-- refund: take back a question that was counted and cost nothing: it was refused, or never sent.
-- KEYS[1]  hash    spent:<conversation>: count, until, token of the run that was counted last
-- KEYS[2]  hash    spent:<conversation>:day: count, until
-- KEYS[3]  hash    spent:<account>: count, until
-- KEYS[4]  hash    spent:*: count, until
-- KEYS[5]  hash    stats
-- ARGV[2]  token of the run that asked
-- Returns     1; 0 if nothing of this run is counted.
-- Complexity  O(1).
if redis.call("HGET", KEYS[1], "token") ~= ARGV[2] then return 0 end
redis.call("HDEL", KEYS[1], "token")
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[3], KEYS[4]}) do
  local count = tonumber(redis.call("HGET", key, "count") or 0)
  if count > 0 then redis.call("HSET", key, "count", count - 1) end
end
local asked = tonumber(redis.call("HGET", KEYS[5], "asked") or 0)
redis.call("HSET", KEYS[5], "asked", math.max(0, asked - 1))
return 1
