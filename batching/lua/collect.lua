-- collect: put the due batches of a shard in flight, and beat the heart of this ledger.
-- KEYS[1]  zset    due
-- KEYS[2]  zset    lease
-- KEYS[3]  hash    stats
-- KEYS[4]  string  heartbeat
-- ARGV[1]  now, ms since the epoch (0: the server's clock)
-- ARGV[2]  key prefix of the shard; c:, o:, f: and trail:<conversation> are made from it
-- ARGV[3]  most batches to take
-- ARGV[4]  how long a wake-up may stay unanswered, ms
-- Returns     {now ms, {conversation, account, batch, count, waited ms, why} ...};
--             why: size, age or idle; vanished: not taken, its batch is missing (see recover_orphan).
-- Complexity  O(k log N), k = batches taken, N = due conversations; content moves by RENAME.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local prefix, ring_ms = ARGV[2], ARGV[4]

redis.call("SET", KEYS[4], now_ms)
local taken = {now_ms}
local due = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now_ms, "LIMIT", 0, ARGV[3])
for _, conversation in ipairs(due) do
  local c = prefix .. "c:" .. conversation
  local account, batch, count, first_ms, stamp, flying = unpack(redis.call("HMGET", c,
    "account", "open_id", "open_count", "open_first", "open_limits", "id"))
  local o, f = prefix .. "o:" .. conversation, prefix .. "f:" .. conversation
  local whole = account and batch and count and first_ms and stamp
  local gone = not whole or (not flying and redis.call("EXISTS", f) == 1)
  if gone then
    taken[#taken + 1] = {conversation, account or "", "", 0, 0, "vanished"}
  elseif not flying then
    local _, max_messages, max_wait_ms = string.match(stamp, "^(%d+) (%d+) (%d+)")
    local why = "idle"
    if now_ms >= first_ms + max_wait_ms then why = "age" end
    if tonumber(count) >= tonumber(max_messages) then why = "size" end
    -- More than counted: an earlier batch lost its hash; its messages are answered with these.
    local kept = redis.call("LLEN", o)
    count = math.max(count, kept)
    if kept > 0 then redis.call("RENAME", o, f) end
    redis.call("HDEL", c, "open_id", "open_count", "open_first", "open_last", "open_limits")
    redis.call("HSET", c, "id", batch, "count", count, "first", first_ms, "limits", stamp,
      "state", "claimed", "stage", "generate", "attempt", 1, "rings", 0)
    redis.call("ZADD", KEYS[2], now_ms + ring_ms, conversation)
    redis.call("HINCRBY", KEYS[3], "open", 0 - count)
    redis.call("HINCRBY", KEYS[3], "flight", count)
    redis.call("HINCRBY", KEYS[3], "flush:" .. why, 1)
    local trail = prefix .. "trail:" .. conversation
    redis.call("RPUSH", trail, now_ms .. " collect " .. batch .. " " .. why .. " " .. first_ms)
    redis.call("LTRIM", trail, -100, -1)
    redis.call("PEXPIRE", trail, 604800000)
    taken[#taken + 1] = {conversation, account, batch, count, now_ms - first_ms, why}
  end
  if not gone then redis.call("ZREM", KEYS[1], conversation) end
end
return taken
