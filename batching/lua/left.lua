-- left: record that a part left, by the sender's word or by the provider's status.
-- It needs no token: that a message is with the provider is true whoever reports it.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  string  sent:<provider message id>
-- KEYS[4]  zset    dead
-- KEYS[5]  list    d:<batch>, its first element tells why
-- KEYS[6]  hash    stats
-- KEYS[7]  list    trail:<conversation>
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  conversation id
-- ARGV[3]  batch id
-- ARGV[4]  part, from 0
-- ARGV[5]  how long the provider's id is remembered, ms
-- Returns     1 this moved the batch on; 2 it settled a dead batch; 0 nothing to do.
-- Complexity  O(log N), N = leases or dead batches.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local conversation, batch, part = ARGV[2], ARGV[3], ARGV[4]

if redis.call("GET", KEYS[3]) ~= "failed" then
  redis.call("SET", KEYS[3], conversation .. ":" .. batch .. ":" .. part, "PX", ARGV[5])
end
local id, next_part, state = unpack(redis.call("HMGET", KEYS[1], "id", "part", "state"))
if id == batch and next_part == part then
  redis.call("HSET", KEYS[1], "part", part + 1)
  redis.call("RPUSH", KEYS[7], now_ms .. " left " .. batch .. " " .. part)
  redis.call("HDEL", KEYS[1], "resent")
  if state == "sending" then
    redis.call("HSET", KEYS[1], "state", "running")
  elseif state == "ambiguous" then
    -- Due at once: the next reap rings for what is still to be done. Who was about to dead_letter it
    -- for want of a status must not.
    redis.call("HDEL", KEYS[1], "token")
    redis.call("HSET", KEYS[1], "state", "waiting")
    redis.call("ZADD", KEYS[2], now_ms, conversation)
  end
  return 1
end
local why = redis.call("LINDEX", KEYS[5], 0)
if not why then return 0 end
why = cjson.decode(why)
if why.part ~= part or why.part + 1 ~= tonumber(why.parts) then return 0 end
local count = redis.call("LLEN", KEYS[5]) - 1
redis.call("ZREM", KEYS[4], batch)
redis.call("DEL", KEYS[5])
redis.call("HINCRBY", KEYS[6], "dead", 0 - count)
redis.call("HINCRBY", KEYS[6], "answered", count)
redis.call("RPUSH", KEYS[7], now_ms .. " left " .. batch .. " " .. part)
redis.call("PEXPIRE", KEYS[7], 604800000)
return 2
