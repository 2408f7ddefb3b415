-- checkpoint: keep the reply and pass the batch on to sending.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  list    trail:<conversation>
-- KEYS[4]  hash    stats
-- KEYS[5]  zset    handovers
-- KEYS[6]  hash    handover:<conversation>
-- KEYS[7]  stream  alerts
-- KEYS[8]  hash    limits
-- ARGV[2]  conversation id
-- ARGV[3]  token
-- ARGV[4]  reply, JSON list of parts
-- ARGV[5]  number of parts
-- ARGV[6]  exchange for the history, JSON
-- ARGV[7]  how long a wake-up may stay unanswered, ms
-- ARGV[8]  "" for an answer; else the reply is an apology: why the batch is a dead letter when it
--          was sent. Its parts are one more than it has, so that no release finishes it as answered
-- ARGV[9]  why a person is to go on, as JSON: reason, summary, urgency, address, and the pauses of
--          batching.model.Waiting; "" where nobody is to. Who is awaited already stays awaited
-- Returns     1; 2 if a person is awaited from now on, and was alerted; 3 if the batch is to be put
--             back (see supersede), and nothing is kept; 0 if the token is not that of a run of
--             generate, or another has begun since.
-- Complexity  O(log N), N = leases or conversations in which a person is awaited.
local conversation, token, reply, parts = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local exchange, wake_up_ms, apology = ARGV[6], ARGV[7], ARGV[8]
local holder, state, stage, batch, late, account, limits, heard = unpack(redis.call("HMGET",
  KEYS[1], "token", "state", "stage", "id", "late", "account", "limits", "heard"))
-- Its lease ran out while the ledger could not be reached, and nobody has taken the batch since.
local is_late = late == token and state == "claimed"
if stage ~= "generate" or not (is_late or holder == token and state == "running") then
  return 0
end
if apology == "" and is_superseded(KEYS[1], KEYS[8], KEYS[6]) then return 3 end
redis.call("HDEL", KEYS[1], "token", "late", "tries")
redis.call("HSET", KEYS[1], "state", "claimed", "stage", "send", "attempt", 1, "rings", 0,
  "reply", reply, "parts", parts, "part", 0, "exchange", exchange)
if apology ~= "" then redis.call("HSET", KEYS[1], "apology", apology, "parts", parts + 1)
else redis.call("HSET", KEYS[4], "generated_ms:" .. account, now_ms) end
redis.call("ZADD", KEYS[2], now_ms + wake_up_ms, conversation)
trail(KEYS[3], "checkpoint", batch, parts)
if ARGV[9] == "" or redis.call("HSETNX", KEYS[6], "batch", batch) == 0 then return 1 end
local why = cjson.decode(ARGV[9])
local remind_ms, sorry_ms, ends_ms = now_ms + why.remind_ms, "", now_ms + why.expires_ms
if why.apology ~= "" and why.apology_ms > 0 then sorry_ms = now_ms + why.apology_ms end
redis.call("HSET", KEYS[6], "account", account, "since", now_ms, "reason", why.reason,
  "urgency", why.urgency, "summary", why.summary, "address", why.address, "limits", limits,
  "heard", heard or now_ms, "reminders", 0, "pause", why.remind_ms, "remind", remind_ms,
  "sorry", why.apology, "sorry_at", sorry_ms, "ends", ends_ms)
redis.call("ZADD", KEYS[5], math.min(remind_ms, tonumber(sorry_ms) or ends_ms, ends_ms),
  conversation)
redis.call("HINCRBY", KEYS[4], "handover:" .. why.reason, 1)
alert(KEYS[7], "handover", "handover_" .. why.reason, account, conversation, batch)
trail(KEYS[3], "hand_over", batch, why.reason)
return 2
