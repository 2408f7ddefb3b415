-- dead_letter: make a batch a dead letter with one alert, schedule the next open batch.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>
-- KEYS[3]  zset    due
-- KEYS[4]  zset    lease
-- KEYS[5]  hash    stats
-- KEYS[6]  zset    dead
-- KEYS[7]  list    d:<batch>: the header, JSON, then the messages
-- KEYS[8]  stream  alerts
-- KEYS[9]  zset    overdue
-- KEYS[10]  list    trail:<conversation>
-- KEYS[11]  hash    limits
-- ARGV[2]  conversation id
-- ARGV[3]  batch id
-- ARGV[4]  token
-- ARGV[5]  reason, one of batching.model.Reason
-- ARGV[6]  detail, an error code
-- Returns     {messages kept, messages lost}; nothing if the token is not the batch's.
-- Complexity  O(log N), N = leases; content moves by RENAME.
local conversation, batch, token, reason, detail = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local id, holder = unpack(redis.call("HMGET", KEYS[1], "id", "token"))
if id ~= batch or holder ~= token then
  return false
end
return to_dead_letter({c = KEYS[1], f = KEYS[2], due = KEYS[3], lease = KEYS[4], stats = KEYS[5],
  dead = KEYS[6], letter = KEYS[7], alerts = KEYS[8], overdue = KEYS[9], trail = KEYS[10],
  limits = KEYS[11]}, conversation, reason, detail)
