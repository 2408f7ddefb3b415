-- overflow: count a message that its conversation, full for too long, cannot hold; alert a person.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  hash    stats
-- KEYS[3]  stream  alerts
-- KEYS[4]  string  cooldown:<account>:overflow:<conversation>, there for an hour after an alert
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  most messages a conversation may hold unanswered
-- ARGV[5]  how long the oldest of them must have waited, ms
-- Returns     1 it is counted as suppressed, and is to be acknowledged; 0 there is room, or it is
--             too early: it is to be delivered again.
-- Complexity  O(1).
local conversation, account = ARGV[2], ARGV[3]

local waiting, flying, first_ms, flying_first_ms = unpack(redis.call("HMGET", KEYS[1],
  "open_count", "count", "open_first", "first"))
local oldest_ms = flying_first_ms or first_ms or now_ms
if (waiting or 0) + (flying or 0) < tonumber(ARGV[4]) or now_ms - oldest_ms < tonumber(ARGV[5]) then
  return 0
end
-- Its id is not recorded: delivered once more, it may find room.
redis.call("HINCRBY", KEYS[2], "accepted", 1)
redis.call("HINCRBY", KEYS[2], "suppressed", 1)
redis.call("HINCRBY", KEYS[2], "suppressed:overflow", 1)
if once(KEYS[4], 1, 3600000) then
  alert(KEYS[3], "overflow", "conversation_full", account, conversation)
end
return 1
