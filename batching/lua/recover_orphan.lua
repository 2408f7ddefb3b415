-- recover_orphan: make dead letters of what is left of a conversation whose batch vanished.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    o:<conversation>
-- KEYS[3]  list    f:<conversation>
-- KEYS[4]  zset    due
-- KEYS[5]  zset    lease
-- KEYS[6]  hash    stats
-- KEYS[7]  zset    dead
-- KEYS[8]  stream  alerts
-- KEYS[9]  list    trail:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  key prefix of the shard; d:<batch>, overdue and limits are made from it
-- Returns     {batch ("" if nothing is left of it), detail, messages kept} ...; {} if all is well.
-- Complexity  O(log N), N = conversations due or leased; content moves by RENAME.
local conversation, prefix = ARGV[2], ARGV[3]
local found = {}

local function save(index, content, counter, detail, counted)
  local kept = redis.call("LLEN", content)
  if redis.call("ZREM", index, conversation) == 0 and kept == 0 then return false end
  local lost = math.max(0, (tonumber(counted) or kept) - kept)
  local account, batch = redis.call("HGET", KEYS[1], "account") or "", ""
  if kept > 0 then
    -- Its own id went with the hash; how many messages it had is not known either.
    batch = "b" .. redis.call("HINCRBY", KEYS[6], "seq", 1)
    redis.call("RENAME", content, prefix .. "d:" .. batch)
    redis.call("LPUSH", prefix .. "d:" .. batch, cjson.encode({conversation = conversation,
      account = account, reason = "vanished", detail = detail, stage = "", attempt = 0,
      part = "", parts = "", at_ms = now_ms}))
    redis.call("ZADD", KEYS[7], now_ms, batch)
    redis.call("HINCRBY", KEYS[6], "dead", kept)
    redis.call("HINCRBY", KEYS[6], "dead:vanished", kept)
    trail(KEYS[9], "dead_letter", batch, "vanished", detail)
  end
  redis.call("HINCRBY", KEYS[6], counter, 0 - kept - lost)
  redis.call("HINCRBY", KEYS[6], "lost", lost)
  alert(KEYS[8], "vanished", detail, account, conversation, batch, kept, lost)
  found[#found + 1] = {batch, detail, kept}
  return true
end

local id, flying, batch, count, first_ms, limits_id, owner = unpack(redis.call("HMGET", KEYS[1],
  "id", "count", "open_id", "open_count", "open_first", "open_limits", "account"))
local is_broken = not is_whole(KEYS[1])
  and save(KEYS[5], KEYS[3], "flight", "flight_missing", flying)
if not (batch and count and first_ms and limits_id and owner) then
  save(KEYS[4], KEYS[2], "open", "batch_missing")
  redis.call("HDEL", KEYS[1], "open_id", "open_count", "open_first", "open_last", "open_limits",
    "open_heard", "open_pause")
end
if is_broken then
  if id then redis.call("ZREM", prefix .. "overdue", conversation .. ":" .. id) end
  release(conversation, KEYS[1], KEYS[4], prefix .. "limits")
end
return found
