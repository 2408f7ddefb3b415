-- reap: see to the batches whose lease ran out, and say what is to be done about each.
-- KEYS[1]  zset    lease
-- KEYS[2]  hash    stats
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  key prefix of the shard; c: and trail:<conversation> are made from it
-- ARGV[3]  most batches to look at
-- ARGV[4]  how long a wake-up may stay unanswered, ms; doubles with every ring
-- ARGV[5]  most that it doubles to, ms
-- ARGV[6]  how long the provider's status may take, ms
-- Returns     {conversation, account, batch, stage, attempt, verdict, token, policy} ...;
--             verdict: ring, spent (dead_letter it), ambiguous (just became so), unresolved (no status),
--             vanished (the batch is missing: see recover_orphan).
-- Complexity  O(k log N), k = batches looked at, N = leases.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local prefix, ring_ms, ring_max_ms, status_ms = ARGV[2], ARGV[4], ARGV[5], ARGV[6]
local seen, expired = {}, redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now_ms, "LIMIT", 0, ARGV[3])
for _, conversation in ipairs(expired) do
  local c = prefix .. "c:" .. conversation
  local account, batch, state, stage, attempt, rings, token, policy, stamp, part, parts = unpack(
    redis.call("HMGET", c, "account", "id", "state", "stage", "attempt", "rings", "token", "policy",
      "limits", "part", "parts"))
  local verdict, wait_ms, rings_now = "ring", tonumber(ring_ms), 0
  if not batch then
    seen[#seen + 1] = {conversation, account or "", "", "generate", 0, "vanished", "", ""}
  else
    if state == "claimed" then
      -- The wake-up was lost, or the queue is long: ring again, more rarely, no attempt spent.
      rings_now, wait_ms = rings + 1, math.min(ring_ms * 2 ^ (rings + 1), tonumber(ring_max_ms))
    elseif state == "running" then
      local max_attempts = string.match(stamp, "^%d+ %d+ %d+ %d+ %d+ %d+ (%d+)")
      redis.call("HINCRBY", KEYS[2], "worker_died", 1)
      if tonumber(attempt) >= tonumber(max_attempts) and not (parts and part == parts) then
        -- The last worker may only be slow: a new token keeps it from sending meanwhile.
        verdict, token = "spent", tostring(redis.call("HINCRBY", KEYS[2], "seq", 1))
        redis.call("HSET", c, "token", token)
      else
        attempt = redis.call("HINCRBY", c, "attempt", 1)
      end
    elseif state == "sending" then
      verdict, wait_ms = "ambiguous", tonumber(status_ms)
      redis.call("HSET", c, "state", verdict)
      redis.call("HINCRBY", KEYS[2], verdict, 1)
    elseif state == "ambiguous" then
      verdict = "unresolved"
    end
    if verdict == "ring" then
      redis.call("HDEL", c, "token")
      redis.call("HSET", c, "state", "claimed", "rings", rings_now)
    end
    redis.call("ZADD", KEYS[1], now_ms + wait_ms, conversation)
    local step = now_ms .. " reap " .. batch .. " " .. state .. " " .. verdict
    if rings_now == 0 then redis.call("RPUSH", prefix .. "trail:" .. conversation, step) end
    seen[#seen + 1] = {conversation, account, batch, stage, tonumber(attempt), verdict,
      verdict ~= "ring" and token or "", policy or ""}
  end
end
return seen
