-- audit: count what is kept of some conversations, to be held against their indexes.
-- KEYS[1]  zset    due
-- KEYS[2]  zset    lease
-- ARGV[1]  key prefix of the shard; c:, o: and f:<conversation> are made from it
-- ARGV[2]  conversation ids, space-separated
-- Returns     {conversation, open count, messages open, flight count, messages in flight,
--             1 if due, 1 if leased} ...
-- Complexity  O(k log N), k = conversations named.
local prefix, conversations = ARGV[1], ARGV[2]
local rows = {}
for conversation in string.gmatch(conversations, "%S+") do
  local open, flight = unpack(redis.call("HMGET", prefix .. "c:" .. conversation,
    "open_count", "count"))
  rows[#rows + 1] = {conversation,
    tonumber(open or 0), redis.call("LLEN", prefix .. "o:" .. conversation),
    tonumber(flight or 0), redis.call("LLEN", prefix .. "f:" .. conversation),
    redis.call("ZSCORE", KEYS[1], conversation) and 1 or 0,
    redis.call("ZSCORE", KEYS[2], conversation) and 1 or 0}
end
return rows
