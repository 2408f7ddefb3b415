-- finish: end a batch as answered or suppressed, schedule the next open batch.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>
-- KEYS[3]  zset    due
-- KEYS[4]  zset    lease
-- KEYS[5]  hash    stats
-- KEYS[6]  list    history:<conversation>, oldest exchange first
-- KEYS[7]  zset    overdue
-- KEYS[8]  list    trail:<conversation>
-- KEYS[9]  hash    limits
-- KEYS[10]  list    answered:<conversation>:<batch>, as d:<batch>, until the customer has it
-- KEYS[11]  zset    answered:<conversation>
-- KEYS[12]  zset    watched:<account>
-- KEYS[13]  stream  outbox: what other systems are told; not there while none is
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  why it was suppressed; "" if it was answered
-- ARGV[5]  most exchanges kept in the history
-- ARGV[6]  age at which the history is forgotten, ms
-- ARGV[7]  how long the provider may report that the answer did not arrive, ms
-- ARGV[8]  exchange that the history keeps of a suppressed batch, JSON; "" for none
-- Returns     1; 0 if the token is not (or no longer) the holder's, or parts are still to be sent.
-- Complexity  O(log N + M), N = leases, M = messages of the batch.
local conversation, token, reason = ARGV[2], ARGV[3], ARGV[4]
local holder, state, count, part, parts, exchange, batch, sent, delivered, account, attempt, reply =
  unpack(redis.call("HMGET", KEYS[1], "token", "state", "count", "part", "parts", "exchange", "id",
    "sent", "delivered", "account", "attempt", "reply"))
if holder ~= token or state ~= "running" then return 0 end
if reason == "" and (not parts or tonumber(part) < tonumber(parts)) then return 0 end
if reason == "" then
  -- Its last field is for the digests of the parts: see Exchange.encode.
  if sent then exchange = string.gsub(exchange, '""%]$', '"' .. sent .. '"]') end
  redis.call("HINCRBY", KEYS[5], "answered", count)
  if tonumber(count) > 0 then publish(KEYS[13], "answered", account, conversation, batch, count) end
else
  exchange = ARGV[8]
  redis.call("HINCRBY", KEYS[5], "suppressed", count)
  redis.call("HINCRBY", KEYS[5], "suppressed:" .. reason, count)
end
if exchange ~= "" then keep_exchange(KEYS[6], exchange, ARGV[5], ARGV[6]) end
redis.call("HINCRBY", KEYS[5], "flight", 0 - count)
local arrived = {}
for number in string.gmatch(string.match(delivered or "", "^" .. batch .. ":(.*)") or "", "%d+") do
  arrived[number] = 1
end
local watched = reason == "" and tonumber(ARGV[7]) > 0 and not has_all(arrived, parts)
if watched and redis.call("EXISTS", KEYS[2]) == 1 then
  redis.call("RENAME", KEYS[2], KEYS[10])
  redis.call("LPUSH", KEYS[10], cjson.encode({conversation = conversation, account = account,
    stage = "send", attempt = attempt, part = part, parts = parts, reply = reply, at_ms = now_ms,
    delivered = arrived, exchange = exchange}))
  watch_answer({answered = KEYS[10], answers = KEYS[11], watched = KEYS[12]}, account, conversation,
    batch, ARGV[7])
end
redis.call("DEL", KEYS[2])
redis.call("ZREM", KEYS[4], conversation)
redis.call("ZREM", KEYS[7], conversation .. ":" .. batch)
trail(KEYS[8], "finish", batch, reason)
release(conversation, KEYS[1], KEYS[3], KEYS[9])
return 1
