-- remind: see to the hand-overs whose time has come: remind a person, tell the customer, give up.
-- KEYS[1]  zset    handovers
-- KEYS[2]  zset    due
-- KEYS[3]  zset    lease
-- KEYS[4]  hash    stats
-- KEYS[5]  stream  alerts
-- ARGV[2]  key prefix of the shard; c:, handover: and trail:<conversation> are made from it
-- ARGV[3]  most conversations
-- ARGV[4]  how long a wake-up may stay unanswered, ms
-- Returns     {{conversation, account, batch that handed over, batch to send or "", what: reminded,
--             expired or ""} ...}.
-- Complexity  O(k log N), k = conversations looked at, N = those that wait, are due or leased.
local prefix, wake_up_ms, seen = ARGV[2], ARGV[4], {}

-- Put what the customer is told in flight, as a batch that answers no message.
local function apologize(conversation, c, kept)
  local id = "b" .. redis.call("HINCRBY", KEYS[4], "seq", 1)
  local _, length = string.gsub(kept.sorry, "[^\128-\191]", "")
  redis.call("HSET", c, "account", kept.account, "id", id, "count", 0, "first", now_ms, "heard",
    kept.heard, "limits", kept.limits, "state", "claimed", "stage", "send", "attempt", 1,
    "rings", 0, "reply", cjson.encode({kept.sorry}), "parts", 1, "part", 0,
    "exchange", cjson.encode({"", kept.sorry, id, "", tostring(length), ""}))
  redis.call("ZADD", KEYS[3], now_ms + wake_up_ms, conversation)
  redis.call("ZREM", KEYS[2], conversation)
  redis.call("HINCRBY", KEYS[4], "handover_apologies", 1)
  trail(prefix .. "trail:" .. conversation, "apologize", id, kept.batch)
  return id
end

local function look(conversation)
  local c, hash = prefix .. "c:" .. conversation, prefix .. "handover:" .. conversation
  local steps, flat, kept = prefix .. "trail:" .. conversation, redis.call("HGETALL", hash), {}
  for n = 1, #flat, 2 do kept[flat[n]] = flat[n + 1] end
  local account, apology, says = kept.account or "", "", ""
  local why = "handover_" .. (kept.reason or "unknown")
  if now_ms >= (tonumber(kept.ends) or 0) then
    alert(KEYS[5], "handover_expired", why, account, conversation, kept.batch)
    end_waiting(KEYS[1], hash, KEYS[4], steps, conversation, "expired")
    return {conversation, account, kept.batch or "", "", "expired"}
  end
  local remind_ms, sorry_ms = tonumber(kept.remind) or now_ms, tonumber(kept.sorry_at)
  if sorry_ms and now_ms >= sorry_ms then
    -- It waits for a batch in flight: two would be sent at once.
    if redis.call("HGET", c, "id") then sorry_ms = now_ms + wake_up_ms
    else apology, sorry_ms = apologize(conversation, c, kept), nil end
  end
  if now_ms >= remind_ms then
    local pause_ms = (kept.pause or 900000) * 2 ^ ((kept.reminders or 0) + 1)
    says, remind_ms = "reminded", now_ms + math.min(pause_ms, 86400000)
    redis.call("HINCRBY", hash, "reminders", 1)
    alert(KEYS[5], "handover_waits", why, account, conversation, kept.batch)
    trail(steps, "remind", kept.batch)
  end
  if apology ~= "" then redis.call("HSET", hash, "apologized", now_ms) end
  redis.call("HSET", hash, "remind", remind_ms, "sorry_at", sorry_ms or "")
  redis.call("ZADD", KEYS[1], math.min(remind_ms, sorry_ms or remind_ms, kept.ends), conversation)
  return {conversation, account, kept.batch, apology, says}
end
for n, due in ipairs(until_now(KEYS[1], ARGV[3])) do seen[n] = look(due) end
return seen
