-- watch: say which shards of a server have something to do, and since when. It only reads.
-- ARGV[2]  key prefixes of the shards, space-separated; due, lease, overdue and heartbeat are made
--          from them
-- ARGV[3]  age at which a shard's heartbeat is to be renewed, ms
-- Returns     {now ms, earliest due ms, earliest lease end ms, oldest heartbeat ms (each -1 for
--             none), {shards to collect from, numbered from 0 ...}, {shards to reap ...}}.
-- Complexity  O(S log N), S = shards, N = conversations due or leased.
local earliest, collect, reap, number = {}, {}, {}, 0

-- Return the first time in an index, -1 for none, and keep the earliest of each kind.
local function head(prefix, kind)
  local first = redis.pcall("ZRANGE", prefix .. kind, 0, 0, "WITHSCORES")
  -- What cannot be read is due: the script that takes it says what is wrong.
  local at_ms = first.err and now_ms or tonumber(first[2])
  if at_ms then earliest[kind] = math.min(earliest[kind] or at_ms, at_ms) end
  return at_ms and at_ms <= now_ms
end

for prefix in string.gmatch(ARGV[2], "%S+") do
  local is_due = head(prefix, "due")
  local expired, overdue = head(prefix, "lease"), head(prefix, "overdue")
  local beat_ms = tonumber(redis.call("GET", prefix .. "heartbeat") or -1)
  earliest.beat = math.min(earliest.beat or beat_ms, beat_ms)
  if is_due or now_ms - beat_ms >= tonumber(ARGV[3]) then collect[#collect + 1] = number end
  if expired or overdue then reap[#reap + 1] = number end
  number = number + 1
end
return {now_ms, earliest.due or -1, earliest.lease or -1, earliest.beat, collect, reap}
