-- renew: keep the lease of a run whose slow call still goes on.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  lease, ms
-- Returns     1; 0 if the token is not (or no longer) the holder's: stop working.
-- Complexity  O(log N), N = leases.
local conversation, token, lease_ms = ARGV[2], ARGV[3], ARGV[4]

local holder, state = unpack(redis.call("HMGET", KEYS[1], "token", "state"))
if holder ~= token or (state ~= "running" and state ~= "sending") then
  return 0
end
redis.call("ZADD", KEYS[2], now_ms + lease_ms, conversation)
return 1
