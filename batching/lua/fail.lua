-- fail: end a run without success: wait and try again, or give the batch to a person.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  hash    stats
-- KEYS[4]  list    trail:<conversation>
-- KEYS[5]  hash    limits
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  outcome: retry (spends an attempt), defer (spends none), outage (spends none, and counts
--          the tries, by which pauses grow), ambiguous (the part that was being sent may be out; if
--          none was, or a status settled it, as retry), unusable (the answer cost a question and is
--          worth nothing: as retry, but not beyond three attempts)
-- ARGV[5]  wait, ms: until the next try, or for the provider's status
-- ARGV[6]  detail, an error code
-- Returns     1 done; 2 retry refused, the attempts are spent: dead_letter it; 0 stale.
-- Complexity  O(log N), N = leases.
local conversation, token, outcome, wait_ms, detail = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local holder, state, attempt, limits_id, part, parts, batch, stage, account =
  unpack(redis.call("HMGET", KEYS[1], "token", "state", "attempt", "limits", "part", "parts", "id",
    "stage", "account"))

-- Note that what the account's stage needs fails: since when, when last, and by which code.
local function note_outage()
  local of, good = account .. ":" .. stage, stage == "send" and "sent_ms:" or "generated_ms:"
  local since_ms, last_ms, good_ms = unpack(redis.call("HMGET", KEYS[3],
    "failing_ms:" .. of, "failed_ms:" .. of, good .. account))
  local goes_on = since_ms and now_ms - last_ms < 600000
    and tonumber(good_ms or 0) < tonumber(since_ms)
  redis.call("HSET", KEYS[3], "failing_ms:" .. of, goes_on and since_ms or now_ms,
    "failed_ms:" .. of, now_ms, "outage_ms:" .. of .. ":" .. detail, now_ms)
end

if holder ~= token or (state ~= "running" and state ~= "sending" and state ~= "ambiguous") then
  return 0
end
-- Already ambiguous: reap set it, or the first call did and its answer got lost.
if outcome == "ambiguous" and state == "ambiguous" then return 1 end
if outcome == "ambiguous" and state == "sending" then
  redis.call("HSET", KEYS[1], "state", "ambiguous")
  redis.call("HINCRBY", KEYS[3], "ambiguous", 1)
  note_outage()
else
  if outcome == "outage" then
    redis.call("HINCRBY", KEYS[1], "tries", 1)
    note_outage()
  elseif outcome ~= "defer" then
    local limits = limits_of(KEYS[5], limits_id)
    if outcome == "unusable" then limits.max_attempts = math.min(3, limits.max_attempts) end
    if is_spent(limits, attempt, part, parts) then return 2 end
    redis.call("HINCRBY", KEYS[1], "attempt", 1)
  end
  -- An ambiguous part is sent again once at most: mark_sending reads this mark.
  if state == "ambiguous" then redis.call("HSET", KEYS[1], "resent", 1) end
  redis.call("HDEL", KEYS[1], "token")
  redis.call("HSET", KEYS[1], "state", "waiting")
end
redis.call("ZADD", KEYS[2], now_ms + wait_ms, conversation)
trail(KEYS[4], "fail", batch, outcome, detail)
return 1
