-- audit: count what is kept of some conversations, to be compared with their indexes.
-- KEYS[1]  zset    due
-- KEYS[2]  zset    lease
-- ARGV[2]  key prefix of the shard; c:, o: and f:<conversation> are made from it
-- ARGV[3]  conversation ids, space-separated
-- Returns     {conversation, open count, messages open, flight count, messages in flight,
--             1 if due, 1 if leased, 1 if any of it expires, 1 if what is in flight answers no
--             message} ...
-- Complexity  O(k log N), k = conversations named.
local prefix, conversations = ARGV[2], ARGV[3]
local rows = {}
for conversation in string.gmatch(conversations, "%S+") do
  local c, o, f = prefix .. "c:" .. conversation, prefix .. "o:" .. conversation,
    prefix .. "f:" .. conversation
  local open, flight, id = unpack(redis.call("HMGET", c, "open_count", "count", "id"))
  local expires = 0
  for _, key in ipairs({c, o, f}) do
    if redis.call("PTTL", key) >= 0 then expires = 1 end
  end
  rows[#rows + 1] = {conversation,
    tonumber(open or 0), redis.call("LLEN", o), tonumber(flight or 0), redis.call("LLEN", f),
    redis.call("ZSCORE", KEYS[1], conversation) and 1 or 0,
    redis.call("ZSCORE", KEYS[2], conversation) and 1 or 0, expires,
    id and flight == "0" and 1 or 0}
end
return rows
