-- collect: put the due batches of a shard in flight, and say that somebody flushes this Redis.
-- KEYS[1]  zset    due
-- KEYS[2]  zset    lease
-- KEYS[3]  hash    stats
-- KEYS[4]  string  heartbeat
-- KEYS[5]  hash    limits
-- ARGV[2]  key prefix of the shard; c:, o:, f: and trail:<conversation> are made from it
-- ARGV[3]  most batches to take
-- ARGV[4]  how long a wake-up may stay unanswered, ms
-- Returns     {conversation, account, batch, count, waited ms, why, quiet ms, attempt} ...; why:
--             size, age or idle; vanished: not taken, its batch is missing (see recover_orphan).
-- Complexity  O(k log N), k = batches taken, N = due conversations; content moves by RENAME.
local prefix, wake_up_ms = ARGV[2], ARGV[4]

redis.call("SET", KEYS[4], now_ms)
local taken = {}
for _, conversation in ipairs(until_now(KEYS[1], ARGV[3])) do
  local c = prefix .. "c:" .. conversation
  local account, batch, count, first_ms, limits_id, flying, heard_ms, last_ms, pause, past = unpack(
    redis.call("HMGET", c, "account", "open_id", "open_count", "open_first", "open_limits", "id",
      "open_heard", "open_last", "open_pause", "superseded"))
  local o, f = prefix .. "o:" .. conversation, prefix .. "f:" .. conversation
  local whole = account and batch and count and first_ms and limits_id
  local gone = not whole or (not flying and redis.call("EXISTS", f) == 1)
  if gone then
    taken[#taken + 1] = {conversation, account or "", "", 0, 0, "vanished", 0}
  elseif not flying then
    local limits, why = limits_of(KEYS[5], limits_id), "idle"
    local _, attempt, tries = before_it_was_put_back(past, batch)
    if now_ms >= first_ms + limits.max_wait_ms then why = "age" end
    if tonumber(count) >= limits.max_messages then why = "size" end
    -- More than counted: an earlier batch lost its hash; its messages are answered with these.
    local kept = redis.call("LLEN", o)
    count = math.max(count, kept)
    if kept > 0 then redis.call("RENAME", o, f) end
    redis.call("HDEL", c, "open_id", "open_count", "open_first", "open_last", "open_limits",
      "open_heard", "open_pause")
    redis.call("HSET", c, "id", batch, "count", count, "first", first_ms, "limits", limits_id,
      "heard", heard_ms or first_ms, "state", "claimed", "stage", "generate", "attempt", attempt,
      "rings", 0)
    if tries > 0 then redis.call("HSET", c, "tries", tries) end
    redis.call("ZADD", KEYS[2], now_ms + wake_up_ms, conversation)
    redis.call("HINCRBY", KEYS[3], "open", 0 - count)
    redis.call("HINCRBY", KEYS[3], "flight", count)
    redis.call("HINCRBY", KEYS[3], "flush:" .. why, 1)
    trail(prefix .. "trail:" .. conversation, "collect", batch, why, first_ms, account,
      string.match(pause or "", ".+"))
    taken[#taken + 1] = {conversation, account, batch, count, now_ms - first_ms, why,
      now_ms - (last_ms or first_ms), attempt}
  end
  if not gone then redis.call("ZREM", KEYS[1], conversation) end
end
return taken
