-- append: accept one message into the open batch of its conversation, or say why not.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    o:<conversation>, oldest first
-- KEYS[3]  zset    seen:<conversation>, message digest -> ms
-- KEYS[4]  zset    due
-- KEYS[5]  hash    stats
-- KEYS[6]  string  heartbeat
-- KEYS[7]  zset    overdue
-- KEYS[8]  hash    limits
-- KEYS[9]  hash    links:<conversation>
-- KEYS[10]  string  alias:<account>:twin:<message digest>: where it came, by which kind of id
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  message digest
-- ARGV[5]  message, JSON
-- ARGV[6]  why it asks for no answer, "" if it asks for one; "closing": only if none waits
-- ARGV[7]  id of the limits for a batch opened by this
-- ARGV[8]  these limits, JSON
-- ARGV[9]  most messages a conversation may hold unanswered; twice with edits and deletions
-- ARGV[10]  age at which a digest is forgotten, ms
-- ARGV[11]  most digests kept
-- ARGV[12]  when it was sent by the provider's clock, ms; 0 if unknown
-- ARGV[13]  digest of the message that it edits, behind a "-" if it deletes that; "" for none
-- ARGV[14]  digests of the ids of its customer that belong there, space-separated
-- ARGV[15]  how long it may come again under an id of the other kind, ms; 0: it cannot
-- ARGV[16]  how long to wait for more, ms, and why; "": as the limits of its batch say
-- Returns     {status, batch, count, due ms, flusher's lag ms}: see batching.model.Receipt.
-- Complexity  O(log N), N = due conversations.
local silent, limits_id, amends, pause = ARGV[6], ARGV[7], ARGV[13]:match("%x+"), ARGV[16]
local function tally(field) redis.call("HINCRBY", KEYS[5], field, 1) end
local function knows(digest) return redis.call("ZSCORE", KEYS[3], digest) end
local function unjoined(status, n) tally(status) return {status, "", n, 0, flusher_lag(KEYS[6])} end
local place, target = elsewhere(KEYS[9], ARGV[14])
if place ~= "unlinked" then place, target = claimed(KEYS[10], ARGV[2], ARGV[15], place, target) end
if place ~= "unlinked" and knows(ARGV[4]) then return unjoined("duplicate", 0) end
if amends and knows("-" .. amends) then silent, place = "deleted", place ~= "moved" and place end
if place then return {place, target, 0, 0, flusher_lag(KEYS[6])} end -- Not what was deleted.
local batch, count, first_ms, opened_with, flying, heard_ms = unpack(redis.call("HMGET", KEYS[1],
  "open_id", "open_count", "open_first", "open_limits", "count", "open_heard"))
if silent == "closing" and batch then silent = "" end
local held, held_max = (count or 0) + (flying or 0), ARGV[9] * (amends and 2 or 1)
if silent == "" and held >= held_max then return unjoined("full", tonumber(count or 0)) end
if amends then redis.call("ZADD", KEYS[3], now_ms, amends, now_ms, ARGV[13]) end
remember(KEYS[3], ARGV[4], ARGV[10], ARGV[11]) tally("accepted")
if silent ~= "" then tally("suppressed:" .. silent) return unjoined("suppressed", 0) end
if not batch then
  batch, first_ms, opened_with = "b" .. redis.call("HINCRBY", KEYS[5], "seq", 1), now_ms, limits_id
  redis.call("HSETNX", KEYS[8], limits_id, ARGV[8])
  redis.call("HSET", KEYS[1], "account", ARGV[3], "open_id", batch, "open_first", now_ms,
    "open_limits", limits_id)
  local overdue_ms = now_ms + limits_of(KEYS[8], limits_id).overdue_ms
  redis.call("ZADD", KEYS[7], overdue_ms, ARGV[2] .. ":" .. batch)
elseif opened_with ~= limits_id then tally("limits_mismatch") end -- It keeps those of its opener.
redis.call("RPUSH", KEYS[2], ARGV[5])
count = redis.call("HINCRBY", KEYS[1], "open_count", 1) tally("open")
heard_ms = math.max(count > 1 and heard_ms or 0, sent_at(ARGV[12]))
redis.call("HSET", KEYS[1], "open_last", now_ms, "open_heard", heard_ms, "open_pause", pause)
local due_ms = due_at(limits_of(KEYS[8], opened_with), count, first_ms, now_ms, pause)
if not flying then redis.call("ZADD", KEYS[4], due_ms, ARGV[2]) end
return {"accepted", batch, count, due_ms, flusher_lag(KEYS[6])}
