-- resolve_part: record what became of a part. True whoever reports it, so it takes no token.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  string  sent:<provider message id>
-- KEYS[4]  zset    dead
-- KEYS[5]  list    d:<batch>, its first element is the header
-- KEYS[6]  hash    stats
-- KEYS[7]  list    trail:<conversation>
-- KEYS[8]  stream  alerts
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  batch id
-- ARGV[5]  part, from 0
-- ARGV[6]  delivery: sent (it is with the provider), failed (it never arrived)
-- ARGV[7]  an error code, "" if there is none
-- ARGV[8]  how long the provider's id is remembered, ms
-- Returns     sent: 1 this moved the batch on; 2 it settled a dead batch; 0 nothing to do.
--             failed: 1 a person is alerted by this; 0 was alerted before, or will be by reap.
-- Complexity  O(log N), N = leases or dead batches.
local conversation, account, batch, part, delivery = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local id, next_part, state = unpack(redis.call("HMGET", KEYS[1], "id", "part", "state"))
local awaited, before = id == batch and next_part == part, redis.call("GET", KEYS[3])
local record = conversation .. ":" .. batch .. ":" .. part
if delivery == "failed" or before == "failed" then record = "failed" end
redis.call("SET", KEYS[3], record, "PX", ARGV[8])
if delivery == "failed" then
  if before == "failed" then return 0 end
  redis.call("HINCRBY", KEYS[6], "undelivered", 1)
  if awaited and state == "ambiguous" then
    -- Certain now, and not sent again: the next reap makes it a dead letter, with its alert.
    redis.call("HSET", KEYS[1], "policy", "alert")
    redis.call("ZADD", KEYS[2], now_ms, conversation)
    return 0
  end
  alert(KEYS[8], "undelivered", ARGV[7], account, conversation, batch)
  return 1
end
if awaited then
  redis.call("HSET", KEYS[1], "part", part + 1)
  redis.call("HDEL", KEYS[1], "resent")
  trail(KEYS[7], "mark_sent", batch, part)
  if state == "sending" then
    redis.call("HSET", KEYS[1], "state", "running")
  elseif state == "ambiguous" then
    redis.call("HDEL", KEYS[1], "token") -- Whoever was about to give it up must not.
    redis.call("HSET", KEYS[1], "state", "waiting")
    redis.call("ZADD", KEYS[2], now_ms, conversation)
  end
  return 1
end

local header = cjson.decode(redis.call("LINDEX", KEYS[5], 0) or "{}")
if header.part ~= part or part + 1 ~= tonumber(header.parts) then return 0 end
local count = redis.call("LLEN", KEYS[5]) - 1
redis.call("ZREM", KEYS[4], batch)
redis.call("DEL", KEYS[5])
redis.call("HINCRBY", KEYS[6], "dead", 0 - count)
redis.call("HINCRBY", KEYS[6], "answered", count)
trail(KEYS[7], "mark_sent", batch, part)
return 2
