-- reap: return what is to be done about batches whose lease ran out, alert once if one is overdue.
-- KEYS[1]  zset    lease
-- KEYS[2]  hash    stats
-- KEYS[3]  zset    overdue
-- KEYS[4]  stream  alerts
-- KEYS[5]  hash    limits
-- ARGV[2]  key prefix of the shard; c: and trail:<conversation> are made from it
-- ARGV[3]  most batches of either kind
-- ARGV[4]  how long a wake-up may stay unanswered, ms; doubles with each
-- ARGV[5]  most that it doubles to, ms
-- ARGV[6]  how long the provider's status may take, ms
-- Returns     {{conversation, account, batch, stage, attempt, expiry, token, policy} ...}, then
--             {{conversation, batch, account} ...} overdue; expiry: see batching.model.Expiry.
-- Complexity  O(k log N), k = batches looked at, N = leases or waiting batches.
local prefix, expired = ARGV[2], {}

local function expire(conversation)
  local c = prefix .. "c:" .. conversation
  local account, batch, state, stage, attempt, rings, token, policy, limits_id, part, parts =
    unpack(redis.call("HMGET", c, "account", "id", "state", "stage", "attempt", "rings", "token",
      "policy", "limits", "part", "parts"))
  if not is_whole(c) then return {conversation, account or "", "", "generate", 0, "vanished"} end
  local expiry, wait_ms, repeats = state == "ambiguous" and "unresolved" or "wake_up", ARGV[4], 0
  if state == "claimed" then
    -- The wake-up was lost, or the queue is long: no attempt is spent.
    repeats, wait_ms = rings + 1, math.min(ARGV[4] * 2 ^ (rings + 1), tonumber(ARGV[5]))
  elseif state == "running" then
    redis.call("HINCRBY", KEYS[2], "worker_died", 1)
    if is_spent(limits_of(KEYS[5], limits_id), attempt, part, parts) then
      -- The last worker may only be slow: a new token keeps it from sending meanwhile.
      expiry, token = "spent", tostring(redis.call("HINCRBY", KEYS[2], "seq", 1))
      redis.call("HSET", c, "token", token, "spent", 1)
    else
      attempt = redis.call("HINCRBY", c, "attempt", 1)
    end
  elseif state == "sending" then
    expiry, wait_ms = "ambiguous", ARGV[6]
    redis.call("HSET", c, "state", expiry)
    redis.call("HINCRBY", KEYS[2], expiry, 1)
  end
  if expiry == "wake_up" then
    redis.call("HDEL", c, "token") -- Until another begins, its answer is still taken: "late".
    redis.call("HSET", c, "state", "claimed", "rings", repeats, "late", token or "")
  end
  redis.call("ZADD", KEYS[1], now_ms + wait_ms, conversation)
  if repeats == 0 then trail(prefix .. "trail:" .. conversation, "reap", batch, state, expiry) end
  return {conversation, account, batch, stage, tonumber(attempt), expiry,
    expiry ~= "wake_up" and token or "", policy or ""}
end
for n, conversation in ipairs(until_now(KEYS[1], ARGV[3])) do expired[n] = expire(conversation) end
return {expired, raise_overdue(KEYS[3], KEYS[2], KEYS[4], prefix, ARGV[3])}
