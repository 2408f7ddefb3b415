-- renew: keep the lease of a run whose slow call still goes on.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  hash    limits
-- KEYS[4]  hash    handover:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  lease, ms
-- Returns     1; 3 if a model is asked in vain: the batch is to be put back (see supersede); 0 if
--             the token is not (or no longer) the holder's: stop working.
-- Complexity  O(log N), N = leases.
local conversation, token, lease_ms = ARGV[2], ARGV[3], ARGV[4]

local holder, state, stage = unpack(redis.call("HMGET", KEYS[1], "token", "state", "stage"))
if holder ~= token or (state ~= "running" and state ~= "sending") then
  return 0
end
redis.call("ZADD", KEYS[2], now_ms + lease_ms, conversation)
return stage == "generate" and is_superseded(KEYS[1], KEYS[3], KEYS[4]) and 3 or 1
