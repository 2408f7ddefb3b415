-- glance: everything that must hold after a step, and what became of it, in one look.
-- It stands in for audit, balance and the alerts, which cost six round trips.
-- PLACES, written above by watcher.py: per shard {stats, due, lease, alerts, handovers,
-- conversations}, each conversation {id, hash, open list, flight list, hand-over}.
-- KEYS     the keys that the step was given
-- ARGV[1]  horizon, ms: an expiry within it is taken off the key, and returned
-- ARGV[2]  (and one more per shard) the last alert seen
-- Returns  {expiry ms of each key}, {what is wrong ...}, messages open or in flight, {alerts ...},
--          {conversation, batch by whose answer a person is awaited there ...},
--          {{conversation, batch of whose answer a part is about to leave, or has left, when it
--          began, by which limits, how often it was put back} ...}
local waits, wrong, busy, alerts, awaited, leaving = {}, {}, 0, {}, {}, {}
for n, key in ipairs(KEYS) do
  waits[n] = redis.call("PTTL", key)
  if waits[n] >= 0 and waits[n] <= tonumber(ARGV[1]) then redis.call("PERSIST", key) end
end
local function must(holds, ...)
  if not holds then wrong[#wrong + 1] = table.concat({...}, " ") end
end
for number, place in ipairs(PLACES) do
  local stats, due, lease, stream, handovers, conversations = unpack(place)
  local held = {open = 0, flight = 0}
  for _, conversation in ipairs(conversations) do
    local id, hash, open_list, flight_list, handover = unpack(conversation)
    local batch_awaited = redis.call("HGET", handover, "batch")
    local is_awaited = redis.call("ZSCORE", handovers, id) and true or false
    must(is_awaited == (batch_awaited and true or false), id, "wrongly awaited")
    if batch_awaited then awaited[#awaited + 1] = id .. ":" .. batch_awaited end
    local open, flight, batch, marked, apology, first, limits, past = unpack(redis.call("HMGET",
      hash, "open_count", "count", "id", "policy", "apology", "first", "limits", "superseded"))
    if marked and not apology and flight ~= "0" then
      leaving[#leaving + 1] = {id .. ":" .. batch, first, limits, past or ""}
    end
    open, flight = tonumber(open or 0), tonumber(flight or 0)
    must(open == redis.call("LLEN", open_list), id, "counts", open, "open messages")
    must(flight == redis.call("LLEN", flight_list), id, "counts", flight, "messages in flight")
    local is_due = redis.call("ZSCORE", due, id) and true or false
    local is_leased = redis.call("ZSCORE", lease, id) and true or false
    -- What tells a customer that a person is awaited is a batch without messages.
    local is_flying = batch and true or false
    must(is_due == (open > 0 and not is_flying), id, "open", open, "flight", flight, "wrongly due")
    must(is_leased == is_flying, id, "flight", flight, "wrongly leased")
    held.open, held.flight = held.open + open, held.flight + flight
  end
  local counts = redis.call("HMGET", stats,
    "accepted", "answered", "suppressed", "dead", "lost", "open", "flight")
  for n = 1, 7 do counts[n] = tonumber(counts[n] or 0) end
  local accepted, answered, suppressed, dead, lost, open, flight = unpack(counts)
  must(accepted == answered + suppressed + dead + lost + open + flight,
    "the counters do not add up:", unpack(counts))
  must(lost == 0, "lost:", lost)
  must(open == held.open and flight == held.flight, "counted", open, flight, "open and in flight")
  busy = busy + open + flight
  for _, entry in ipairs(redis.call("XRANGE", stream, ARGV[1 + number], "+")) do
    alerts[#alerts + 1] = {number, entry[1], entry[2]}
  end
end
return {waits, wrong, busy, alerts, awaited, leaving}
