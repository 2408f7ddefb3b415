-- supersede: put a batch of which nothing leaves back in front of what its customer wrote since.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>
-- KEYS[3]  list    o:<conversation>
-- KEYS[4]  zset    due
-- KEYS[5]  zset    lease
-- KEYS[6]  hash    stats
-- KEYS[7]  zset    overdue
-- KEYS[8]  list    trail:<conversation>
-- KEYS[9]  hash    limits
-- KEYS[10]  hash    handover:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  1 if an answer is discarded by this, whole or cut off; else 0
-- Returns     how often the batch was put back, with this time; 0 if the token is not (or not any
--             more) the holder's, nothing is open, or it may not be put back (see is_superseded).
-- Complexity  O(log N + M), N = due conversations, M = messages in flight.
local conversation, token, draft = ARGV[2], ARGV[3], ARGV[4]
local holder, late, state, batch, account, count, first_ms, heard_ms, limits_id, attempt, tries,
  past, open_id, open_heard_ms = unpack(redis.call("HMGET", KEYS[1], "token", "late", "state", "id",
    "account", "count", "first", "heard", "limits", "attempt", "tries", "superseded", "open_id",
    "open_heard"))
-- Its lease ran out while the ledger could not be reached, and nobody has taken the batch since.
local is_late = late == token and state == "claimed"
-- Who was told to end it may do so, though its time is over by now: its answer is lost already.
if not (is_late or holder == token and state == "running")
  or not is_superseded(KEYS[1], KEYS[9], KEYS[10], true) then
  return 0
end
for _ = 1, redis.call("LLEN", KEYS[2]) do
  redis.call("RPOPLPUSH", KEYS[2], KEYS[3])
end
-- It stays the older batch: by its name, its limits and its age.
redis.call("HSET", KEYS[1], "open_id", batch, "open_first", first_ms, "open_limits", limits_id,
  "open_heard", math.max(heard_ms or 0, open_heard_ms or 0))
redis.call("HINCRBY", KEYS[1], "open_count", count)
redis.call("HINCRBY", KEYS[6], "flight", 0 - count)
redis.call("HINCRBY", KEYS[6], "open", count)
if draft == "1" then redis.call("HINCRBY", KEYS[6], "drafts_discarded:" .. account, 1) end
redis.call("ZREM", KEYS[5], conversation)
redis.call("ZREM", KEYS[7], conversation .. ":" .. open_id)
release(conversation, KEYS[1], KEYS[4], KEYS[9])
-- What it has cost of its attempts it has cost: what kills workers must end.
local times = before_it_was_put_back(past, batch) + 1
redis.call("HSET", KEYS[1], "superseded",
  table.concat({batch, times, attempt, tries or 0}, " "))
trail(KEYS[8], "supersede", batch, open_id, times, draft == "1" and "draft" or "none")
return times
