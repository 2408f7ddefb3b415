-- watch: say which shards of a server have something to do, and since when. It only reads.
-- ARGV[2]  key prefixes of the shards, space-separated; due, lease, overdue, handovers and
--          heartbeat are made from them
-- ARGV[3]  age at which a shard's heartbeat is to be renewed, ms
-- Returns     {now ms, earliest due ms, earliest lease end ms, oldest heartbeat ms (each nothing if
--             there is none), {shards to collect from, numbered from 0 ...}, {shards to reap ...},
--             {shards in which a person who is awaited is to be reminded ...}}.
-- Complexity  O(S), S = shards; one command for 32 empty shards, four for each other.
local KINDS, BLOCK = {"due", "lease", "overdue", "handovers"}, 32
local prefixes, hearts, earliest, collect, reap, remind = {}, {}, {}, {}, {}, {}
for prefix in string.gmatch(ARGV[2], "%S+") do
  prefixes[#prefixes + 1], hearts[#hearts + 1] = prefix, prefix .. "heartbeat"
end

-- Return whether any of these shards has anything due, leased or waiting.
local function in_use(first, last)
  local indexes = {}
  for number = first, last do
    for _, kind in ipairs(KINDS) do indexes[#indexes + 1] = prefixes[number] .. kind end
  end
  return redis.call("EXISTS", unpack(indexes)) > 0
end

-- Return whether the first of a shard's index is due, and keep the earliest of all shards.
local function is_due(number, kind)
  local first = redis.pcall("ZRANGE", prefixes[number] .. kind, 0, 0, "WITHSCORES")
  -- What cannot be read is due: the script that takes it says what is wrong.
  local at_ms = first.err and now_ms or tonumber(first[2])
  if at_ms then earliest[kind] = math.min(earliest[kind] or at_ms, at_ms) end
  return at_ms and at_ms <= now_ms
end

local due = {}
for first = 1, #prefixes, BLOCK do
  local last = math.min(first + BLOCK - 1, #prefixes)
  local block_in_use = in_use(first, last)
  for number = first, last do
    if block_in_use and in_use(number, number) then
      due[number] = is_due(number, "due")
      local expired, overdue = is_due(number, "lease"), is_due(number, "overdue")
      if expired or overdue then reap[#reap + 1] = number - 1 end
      if is_due(number, "handovers") then remind[#remind + 1] = number - 1 end
    end
  end
end
local oldest_ms = now_ms
for number, beat in ipairs(redis.call("MGET", unpack(hearts))) do
  local beat_ms = tonumber(beat or -1)
  oldest_ms = math.min(oldest_ms, beat_ms)
  local is_old = now_ms - beat_ms >= tonumber(ARGV[3])
  if due[number] or is_old then collect[#collect + 1] = number - 1 end
end
return {now_ms, earliest.due or false, earliest.lease or false, oldest_ms >= 0 and oldest_ms,
  collect, reap, remind}
