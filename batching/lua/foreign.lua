-- foreign: note a message from our number that we may not have sent; a person's pauses us.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  string  sent:<provider message id>
-- KEYS[3]  string  takeover:<conversation>
-- KEYS[4]  string  cooldown:<account>:foreign_reply, there for an hour after such an alert
-- KEYS[5]  stream  alerts
-- KEYS[6]  hash    stats
-- KEYS[7]  string  sent:<provider message id>, as earlier releases named it
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  author: person, meta_agent, app or unknown
-- ARGV[5]  how long a takeover lasts, ms; 0 if the author's message is none
-- Returns     0 it is our own; 1 foreign; 2 foreign, and a takeover began; 3 it goes on.
-- Complexity  O(1).
local conversation, account, author, takeover_ms = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- While a part is on its way its id is not known yet: the echo may be faster than the answer.
local state = redis.call("HGET", KEYS[1], "state")
local formerly_sent = redis.call("GET", KEYS[7]) or ""
local is_ours = redis.call("EXISTS", KEYS[2]) == 1
  or string.sub(formerly_sent, 1, #conversation + 1) == conversation .. ":"
if is_ours or state == "sending" or state == "ambiguous" then
  return 0
end
redis.call("HINCRBY", KEYS[6], "foreign:" .. author, 1)
if tonumber(takeover_ms) > 0 then
  return redis.call("SET", KEYS[3], author, "GET", "PX", takeover_ms) and 3 or 2
end
if once(KEYS[4], author, 3600000) then
  alert(KEYS[5], "foreign_reply", author, account, conversation)
end
return 1
