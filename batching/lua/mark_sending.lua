-- mark_sending: record that a part of the reply is about to be sent, before it is.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  list    trail:<conversation>
-- KEYS[4]  hash    limits
-- KEYS[5]  hash    handover:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  part, from 0
-- ARGV[5]  the account's policy should the outcome stay unknown: alert or resend
-- ARGV[6]  lease, ms
-- Returns     1 go; 3 the batch is to be put back instead (see supersede); 0 the token or the part
--             is not this run's to send.
-- Complexity  O(log N), N = leases.
local conversation, token, part, policy, lease_ms = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local holder, state, stage, next_part, parts, resent, batch = unpack(redis.call("HMGET", KEYS[1],
  "token", "state", "stage", "part", "parts", "resent", "id"))
-- "sending" is this very run's: its first call was carried out, and the answer got lost.
if holder ~= token or (state ~= "running" and state ~= "sending") or stage ~= "send"
  or next_part ~= part or tonumber(part) >= tonumber(parts) then
  return 0
end
if is_superseded(KEYS[1], KEYS[4], KEYS[5]) then return 3 end
redis.call("HSET", KEYS[1], "state", "sending", "policy", resent and "alert" or policy)
redis.call("ZADD", KEYS[2], now_ms + lease_ms, conversation)
trail(KEYS[3], "mark_sending", batch, part)
return 1
