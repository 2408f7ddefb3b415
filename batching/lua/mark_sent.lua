-- mark_sent: record that a part is with the provider. True whoever reports it: it takes no token.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  string  sent:<provider message id>
-- KEYS[4]  string  sent:<provider message id>, as earlier releases named it
-- KEYS[5]  list    d:<batch>, its first element is the header
-- KEYS[6]  hash    stats
-- KEYS[7]  stream  alerts
-- KEYS[8]  string  cooldown:<account>:status_refused, there for an hour after such an alert
-- KEYS[9]  zset    dead
-- KEYS[10]  list    trail:<conversation>
-- KEYS[11]  list    answered:<conversation>:<batch>
-- KEYS[12]  zset    answered:<conversation>
-- KEYS[13]  zset    watched:<account>
-- ARGV[2]  conversation id
-- ARGV[3]  account id, of the channel that says so
-- ARGV[4]  batch id
-- ARGV[5]  part, from 0
-- ARGV[6]  the seal of the tag: 1 this account's; 0 not; "" none, as in earlier releases
-- ARGV[7]  how long the provider's id is remembered, ms
-- ARGV[8]  how long the provider may report that an answer did not arrive, ms
-- Returns     1 this moved the batch on; 2 it settled a dead letter; 0 nothing to do; -1 the part
--             is another account's, and nothing is recorded.
-- Complexity  O(log N), N = leases or dead letters.
local conversation, account, batch, part = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local believed, awaited, state, header = reported(KEYS[1], KEYS[5], KEYS[6], KEYS[7], KEYS[8],
  conversation, account, batch, part, ARGV[6])
if believed < 1 then return believed end
local record, before = conversation .. ":" .. batch .. ":" .. part, redis.call("GET", KEYS[3])
if before == "failed" or before == record .. ":delivered" then record = before end
remember_part(record, KEYS[3], KEYS[4], ARGV[7])
if before == "failed" then return 0 end
if awaited then
  -- For quotes of it, once it is in the history.
  local sent = redis.call("HGET", KEYS[1], "sent") or ""
  sent = sent .. part .. ":" .. string.match(KEYS[3], "[^:]*$") .. " "
  redis.call("HSET", KEYS[1], "part", part + 1, "sent", sent)
  redis.call("HDEL", KEYS[1], "resent")
  local parts, messages = unpack(redis.call("HMGET", KEYS[1], "parts", "count"))
  count_sent(KEYS[6], account, part, parts, messages)
  trail(KEYS[10], "mark_sent", batch, part)
  if state == "sending" then
    redis.call("HSET", KEYS[1], "state", "running")
  elseif state == "ambiguous" then
    redis.call("HDEL", KEYS[1], "token") -- Whoever was about to give it up must not.
    redis.call("HSET", KEYS[1], "state", "waiting")
    redis.call("ZADD", KEYS[2], now_ms, conversation)
  end
  return 1
end

-- What is known to have failed takes more: see mark_delivered.
if header.part ~= part or part + 1 ~= tonumber(header.parts) or header.failed then return 0 end
header.part, header.delivered = header.parts, {}
local count = redis.call("LLEN", KEYS[5]) - 1
settle({letter = KEYS[5], stats = KEYS[6], dead = KEYS[9], answered = KEYS[11],
  answers = KEYS[12], watched = KEYS[13]}, account, conversation, header, batch, ARGV[8])
count_sent(KEYS[6], account, part, header.parts, count)
trail(KEYS[10], "mark_sent", batch, part)
return 2
