-- foreign: note a message from our number that we may not have sent; a person's pauses us.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  string  sent:<provider message id>
-- KEYS[3]  string  takeover:<conversation>
-- KEYS[4]  string  cooldown:<account>:foreign_reply, there for an hour after such an alert
-- KEYS[5]  stream  alerts
-- KEYS[6]  hash    stats
-- KEYS[7]  string  sent:<provider message id>, as earlier releases named it
-- KEYS[8]  zset    due
-- KEYS[9]  zset    seen:<conversation>, message digest -> ms
-- KEYS[10]  zset    handovers
-- KEYS[11]  hash    handover:<conversation>
-- KEYS[12]  list    trail:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  author: person, meta_agent, app or unknown
-- ARGV[5]  how long a takeover lasts, ms; 0 if the author's message is none
-- ARGV[6]  within so long after a new customer's first message it may be the app's greeting, ms
-- ARGV[7]  how long the batch then waits for a person to go on, ms
-- ARGV[8]  its words without white space; "" if unknown
-- Returns     0 it is our own; 1 foreign; 2 foreign, and a takeover began; 3 it goes on; 4 it may
--             be the app's greeting: no takeover began, and the batch waits.
-- Complexity  O(log N + P), N = due conversations, P = parts of the answer that leaves.
local conversation, account, author, takeover_ms = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local greeting_ms, pause_ms, words = ARGV[6], ARGV[7], ARGV[8]
local state, reply = unpack(redis.call("HMGET", KEYS[1], "state", "reply"))
local formerly_sent = redis.call("GET", KEYS[7]) or ""
local is_ours = redis.call("EXISTS", KEYS[2]) == 1
  or string.sub(formerly_sent, 1, #conversation + 1) == conversation .. ":"
if not is_ours and (state == "sending" or state == "ambiguous") then
  -- The id of a part on its way is not known yet: the echo may be faster than the answer. Then its
  -- words tell whose it is; where they are not known, that it comes from where our own do not.
  is_ours = words == "" and tonumber(takeover_ms) == 0
  local readable, parts = pcall(cjson.decode, reply or "[]")
  for _, part in ipairs(readable and type(parts) == "table" and parts or {}) do
    is_ours = is_ours or words ~= "" and string.gsub(tostring(part), "%s", "") == words
  end
end
if is_ours then return 0 end
redis.call("HINCRBY", KEYS[6], "foreign:" .. author, 1)
if tonumber(takeover_ms) > 0 then
  local opened, first_ms, flying, greeted = unpack(redis.call("HMGET", KEYS[1],
    "open_count", "open_first", "count", "greeted"))
  -- All that the customer ever wrote is in the open batch.
  local is_new = opened and not flying and redis.call("ZCARD", KEYS[9]) <= tonumber(opened)
  if is_new and not greeted and now_ms - first_ms <= tonumber(greeting_ms)
    and redis.call("EXISTS", KEYS[3]) == 0 then
    redis.call("HSET", KEYS[1], "greeted", 1)
    redis.call("ZADD", KEYS[8], now_ms + pause_ms, conversation)
    return 4
  end
  end_waiting(KEYS[10], KEYS[11], KEYS[6], KEYS[12], conversation, "answered")
  return redis.call("SET", KEYS[3], author, "GET", "PX", takeover_ms) and 3 or 2
end
if once(KEYS[4], author, 3600000) then
  alert(KEYS[5], "foreign_reply", author, account, conversation)
end
return 1
