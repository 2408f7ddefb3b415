-- overdue: tell a person of the batches that have waited too long; of each once.
-- KEYS[1]  zset    overdue
-- KEYS[2]  hash    stats
-- KEYS[3]  stream  alerts
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  key prefix of the shard; c: and trail:<conversation> are made from it
-- ARGV[3]  most batches to tell of
-- Returns     {conversation, batch, account} ...
-- Complexity  O(k log N), k = batches told of, N = batches that wait.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local prefix = ARGV[2]

local told = {}
local late = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now_ms, "LIMIT", 0, ARGV[3])
for _, member in ipairs(late) do
  local conversation, batch = string.match(member, "^(.+):(.+)$")
  local account = redis.call("HGET", prefix .. "c:" .. conversation, "account") or ""
  redis.call("XADD", KEYS[3], "*", "kind", "overdue", "detail", "", "account", account,
    "conversation", conversation, "batch", batch, "at_ms", now_ms)
  redis.call("HINCRBY", KEYS[2], "overdue", 1)
  redis.call("RPUSH", prefix .. "trail:" .. conversation, now_ms .. " overdue " .. batch)
  redis.call("PEXPIRE", prefix .. "trail:" .. conversation, 604800000)
  redis.call("ZREM", KEYS[1], member)
  told[#told + 1] = {conversation, batch, account}
end
return told
