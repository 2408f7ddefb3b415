-- What is in the ledger of this Redis: {its id, when it was last collected from in ms, conversations
-- with messages that wait, dead letters}; {"", 0, 0, 0} for none. Changes nothing.
local meta = redis.call("HMGET", "aa:meta", "identity", "generation", "shards")
local collected_ms, waiting, dead = 0, 0, 0
for n = 0, tonumber(meta[3] or 0) - 1 do
  local prefix = "{aa" .. (meta[2] or 1) .. "." .. n .. "}:"
  collected_ms = math.max(collected_ms, tonumber(redis.call("GET", prefix .. "heartbeat") or 0))
  waiting = waiting + redis.call("ZCARD", prefix .. "due") + redis.call("ZCARD", prefix .. "lease")
  dead = dead + redis.call("ZCARD", prefix .. "dead")
end
return {meta[1] or "", string.format("%.0f", collected_ms), waiting, dead}
