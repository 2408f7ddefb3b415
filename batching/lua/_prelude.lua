-- _prelude: what the scripts share; store.py puts it before each of them.
-- ARGV[1]  now, ms since the epoch (0: the server's clock), in every script
-- Returns     nothing by itself.
-- Complexity  O(1) for each function; O(log N) for `release`, N = due conversations.
local time = redis.call("TIME")
local now_ms = ARGV[1] ~= "0" and ARGV[1] + 0 or time[1] * 1000 + math.floor(time[2] / 1000)
-- The defaults of batching.model.Limits, for a set of another release that lacks a name.
local DEFAULTS = {idle_ms = 9000, max_messages = 10, max_wait_ms = 45000, overdue_ms = 120000,
  reply_deadline_ms = 86400000, lease_ms = 6000, max_attempts = 8, supersede_max = 0}

-- Have other systems told what became of a batch; nothing is written while none is.
local function publish(outbox, event, account, conversation, batch, messages)
  redis.call("XADD", outbox, "NOMKSTREAM", "MAXLEN", "~", 100000, "*", "event", event,
    "account", account, "conversation", conversation, "batch", batch, "messages", messages,
    "at_ms", now_ms)
end

-- Note a step of a batch for `manage.py trace`: the last 100 of a conversation, for 7 days.
local function trail(key, ...)
  redis.call("RPUSH", key, table.concat({now_ms, ...}, " "))
  redis.call("LTRIM", key, -100, -1)
  redis.call("PEXPIRE", key, 604800000)
end

-- Have a person alerted; leave out what an alert is not about.
local function alert(stream, kind, detail, account, conversation, batch, kept, lost)
  local entry = {"kind", kind, "detail", detail, "account", account, "at_ms", now_ms}
  local further = {conversation = conversation, batch = batch, kept = kept, lost = lost}
  for name, value in pairs(further) do
    entry[#entry + 1], entry[#entry + 2] = name, value
  end
  redis.call("XADD", stream, "*", unpack(entry))
end

-- Alert once of each batch that waits too long. Return {{conversation, batch, account} ...}.
local function raise_overdue(index, stats, alerts, prefix, limit)
  local overdue = {}
  for n, waiting in ipairs(redis.call("ZRANGEBYSCORE", index, "-inf", now_ms, "LIMIT", 0, limit)) do
    local conversation, batch = string.match(waiting, "^(.+):(.+)$")
    local c = prefix .. "c:" .. conversation
    local account, id, first, stage, open_first =
      unpack(redis.call("HMGET", c, "account", "id", "first", "stage", "open_first"))
    if id ~= batch then first, stage = open_first, "collect" end
    account = account or ""
    alert(alerts, "overdue", "", account, conversation, batch)
    redis.call("HINCRBY", stats, "overdue", 1)
    trail(prefix .. "trail:" .. conversation, "overdue", batch, first or 0, stage or "")
    redis.call("ZREM", index, waiting)
    overdue[n] = {conversation, batch, account}
  end
  return overdue
end

-- Return whether this is the first call for a key in `cooldown_ms`.
local function once(key, value, cooldown_ms)
  return redis.call("SET", key, value, "NX", "PX", cooldown_ms) and true or false
end

-- Return what the header of a dead letter or an answer says. Somebody may have damaged it: nothing,
-- where it cannot be read, and nothing of what is of another type than it was written with.
local function header_of(list)
  local readable, found = pcall(cjson.decode, redis.call("LINDEX", list, 0) or "{}")
  -- What cannot be written again, such as an infinite number, cannot be read either.
  readable = readable and type(found) == "table" and pcall(cjson.encode, found)
  local header = readable and found or {}
  for _, name in ipairs({"failed", "delivered"}) do
    if type(header[name]) ~= "table" then header[name] = nil end
  end
  for _, name in ipairs({"conversation", "account", "reason", "part", "parts", "exchange"}) do
    if type(header[name]) ~= "string" then header[name] = nil end
  end
  if not tonumber(header.parts) then header.parts = nil end
  return header
end

-- Read what an account reports about: whether to believe it, 1; 0 if nothing says whose part it
-- is; -1 if it is another account's: that is counted and alerted, given `stats`. Then whether the
-- batch in flight is to send this part next, its state, the header of the dead letter, and whether
-- the batch is in flight and has handed this part over, or is about to.
local function reported(c, letter, stats, alerts, cooldown, conversation, account, batch, part,
  seal)
  local id, next_part, state, owner, failed = unpack(redis.call("HMGET", c,
    "id", "part", "state", "account", "failed"))
  local header = header_of(letter)
  local is_given_up = failed and string.sub(failed, 1, #batch + 1) == batch .. ":"
  local awaited = id == batch and next_part == part and not is_given_up
  local known = id == batch and owner or header.account
  if seal == "" and not known then return 0 end
  if seal ~= "0" and (known or account) == account
    and (header.conversation or conversation) == conversation then
    local has_part = id == batch and next_part and tonumber(part) <= tonumber(next_part)
    return 1, awaited, state, header, has_part
  end
  if not stats then return -1 end
  redis.call("HINCRBY", stats, "status_refused", 1)
  if once(cooldown, conversation, 3600000) then alert(alerts, "status_refused", "", account) end
  return -1
end

-- Keep what became of a part, by the provider's id; earlier releases read that it is ours.
local function remember_part(record, sent, formerly_sent, sent_ms)
  redis.call("SET", sent, record, "PX", sent_ms)
  redis.call("SET", formerly_sent, "ours", "NX", "PX", sent_ms)
end

-- Return when a message was sent by its provider's clock, ms; now if that cannot be believed.
local function sent_at(sent_ms)
  local age_ms = now_ms - sent_ms
  return age_ms >= 0 and age_ms <= 2592000000 and tonumber(sent_ms) or now_ms
end

-- Count a part that left, and with the last its reply, which spared a question for each message of
-- its batch but one. Called where a part becomes known as sent: once, whoever reports it how often.
local function count_sent(stats, account, part, parts, messages)
  redis.call("HINCRBY", stats, "parts_sent:" .. account, 1)
  redis.call("HSET", stats, "sent_ms:" .. account, now_ms)
  -- What tells a customer that a person is still awaited is no reply to a message.
  if part + 1 ~= tonumber(parts) or tonumber(messages) < 1 then return end
  redis.call("HINCRBY", stats, "replies_sent:" .. account, 1)
  redis.call("HINCRBY", stats, "calls_saved:" .. account, messages - 1)
end

-- Return where a message belongs instead: its conversation moved, or an id of its customer is new.
local function elsewhere(links, digests)
  local target = redis.call("HGET", links, "moved")
  if target then redis.call("PEXPIRE", links, 15552000000) return "moved", target end
  for digest in string.gmatch(digests, "%S+") do
    if not redis.call("HGET", links, digest) then return "unlinked", "" end
  end
end

-- Note that a message came by a number; return where it belongs: with what came by another id.
local function claimed(twin, conversation, ms, place, target)
  local by = ms ~= "0" and redis.call("SET", twin, conversation .. ":phone", "NX", "GET", "PX", ms)
  local other, kind = string.match(by or "", "^(.+):(%w+)$")
  if other and kind ~= "phone" then return "unlinked", other end
  return place, target
end

-- Return how long ago a flusher last collected, ms; -1 if none ever did.
local function flusher_lag(heartbeat)
  local beat_ms = redis.call("GET", heartbeat)
  return beat_ms and math.max(0, now_ms - beat_ms) or -1
end

-- Remember that a message was seen, for some time and among so many.
local function remember(seen, digest, seen_ms, most)
  redis.call("ZADD", seen, now_ms, digest)
  redis.call("ZREMRANGEBYRANK", seen, 0, -most - 1)
  redis.call("ZREMRANGEBYSCORE", seen, "-inf", now_ms - seen_ms)
  redis.call("PEXPIRE", seen, seen_ms)
end

-- Return up to `limit` members of a sorted set whose time has come, earliest first.
local function until_now(index, limit)
  return redis.call("ZRANGEBYSCORE", index, "-inf", now_ms, "LIMIT", 0, limit)
end

-- Return the limits that a batch names, by their names. `sets`: hash, id -> limits as JSON.
local function limits_of(sets, id)
  local json, found, limits = redis.call("HGET", sets, id or ""), {}, {}
  if json then
    local readable, decoded = pcall(cjson.decode, json)
    if readable and type(decoded) == "table" then found = decoded end
  else
    -- As releases wrote them that did not store limits by name.
    found.idle_ms, found.max_messages, found.max_wait_ms, found.overdue_ms, found.reply_deadline_ms,
      found.lease_ms, found.max_attempts =
      string.match(id or "", "^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$")
  end
  for name, default in pairs(DEFAULTS) do limits[name] = tonumber(found[name]) or default end
  return limits
end

-- Return whether no attempt is left. With all parts out only the end of the batch is to be
-- recorded: it is never too late for that.
local function is_spent(limits, attempt, part, parts)
  return tonumber(attempt) >= limits.max_attempts and not (parts and part == parts)
end

-- Return when an open batch is due: at once if it is full, else when its customer pauses.
-- `pause`: how long to wait after its last message, ms, and why; "" or nil: as its limits say.
local function due_at(limits, count, first_ms, last_ms, pause)
  if tonumber(count) >= limits.max_messages then return last_ms end
  local idle_ms = string.match(pause or "", "^%d+") or limits.idle_ms
  return math.min(last_ms + idle_ms, first_ms + limits.max_wait_ms)
end

-- Return whether the record of a batch in flight has all that is always there.
local function is_whole(c)
  local kept = redis.call("HMGET", c,
    "id", "account", "limits", "state", "stage", "count", "first", "attempt", "rings")
  for n = 1, 9 do
    if not kept[n] or n > 5 and not tonumber(kept[n]) then return false end
  end
  return true
end

-- Return how often a batch was put back, and its attempt and its tries before that. `past`: the
-- field "superseded"; a release that does not know it leaves it to the next batch.
local function before_it_was_put_back(past, batch)
  local of, times, attempt, tries = string.match(past or "", "^(%w+) (%d+) (%d+) (%d+)$")
  if of ~= batch then return 0, 1, 0 end
  return tonumber(times), tonumber(attempt), tonumber(tries)
end

-- Return whether the batch in flight is to be put back, because its customer wrote again before any
-- of its answer is leaving. Not if that happened too often or took too long, and not if a person
-- was promised by its answer. `c`, `sets`, `handover`: keys; `is_told`: however long it took.
local function is_superseded(c, sets, handover, is_told)
  local open, batch, count, first_ms, limits_id, policy, apology, past = unpack(redis.call("HMGET",
    c, "open_count", "id", "count", "first", "limits", "policy", "apology", "superseded"))
  -- The policy is there from when its first part was about to leave.
  if not (open and batch) or policy or apology or tonumber(count) == 0 then return false end
  local limits, times = limits_of(sets, limits_id), before_it_was_put_back(past, batch)
  return times < limits.supersede_max and (is_told or now_ms < first_ms + limits.max_wait_ms)
    and redis.call("HGET", handover, "batch") ~= batch
end

-- Forget a conversation's batch in flight, and schedule its next open batch.
local function release(conversation, c, due, sets)
  redis.call("HDEL", c, "id", "count", "first", "heard", "limits", "state", "stage", "attempt",
    "rings", "token", "late", "reply", "parts", "part", "exchange", "policy", "resent",
    "sent", "tries", "apology", "delivered", "failed", "spent", "superseded")
  local count, first_ms, last_ms, id, pause = unpack(redis.call("HMGET", c,
    "open_count", "open_first", "open_last", "open_limits", "open_pause"))
  if not count then return redis.call("DEL", c) end
  local due_ms = due_at(limits_of(sets, id), count, first_ms, last_ms, pause)
  redis.call("ZADD", due, due_ms, conversation)
end

-- Make the batch in flight a dead letter with one alert, and schedule the next open batch.
-- `k`: keys by name. Return {messages kept, messages lost}.
local function to_dead_letter(k, conversation, reason, detail)
  local batch, account, count, stage, attempt, part, parts, reply, exchange, apology, known =
    unpack(redis.call("HMGET", k.c, "id", "account", "count", "stage", "attempt", "part", "parts",
      "reply", "exchange", "apology", "failed"))
  -- Left by mark_failed; a release that does not know it leaves it to the next batch.
  local of, number, code = string.match(known or "", "^(%w+):(%d+):(.*)$")
  local failed = of == batch and {[number] = code} or nil
  if failed then reason, detail = "undelivered", code end
  -- What failed is no answer: the batch is dead of what it was to be excused for.
  if failed and apology then reason, detail = string.match(apology, "^(%S+) ?(.*)$") end
  local kept = redis.call("LLEN", k.f)
  local lost = math.max(0, count - kept)
  local header = {conversation = conversation, account = account, reason = reason, detail = detail,
    stage = stage, attempt = attempt, part = part or "", parts = parts or "", at_ms = now_ms,
    reply = reply or nil, exchange = exchange or nil, failed = failed}
  if kept > 0 then redis.call("RENAME", k.f, k.letter) end
  redis.call("LPUSH", k.letter, cjson.encode(header))
  redis.call("ZADD", k.dead, now_ms, batch)
  alert(k.alerts, reason, detail, account, conversation, batch, kept, lost)
  redis.call("HINCRBY", k.stats, "flight", 0 - count)
  redis.call("HINCRBY", k.stats, "dead", kept)
  redis.call("HINCRBY", k.stats, "lost", lost)
  redis.call("HINCRBY", k.stats, "dead:" .. reason, count)
  redis.call("ZREM", k.lease, conversation)
  redis.call("ZREM", k.overdue, conversation .. ":" .. batch)
  trail(k.trail, "dead_letter", batch, reason, detail)
  release(conversation, k.c, k.due, k.limits)
  return {kept, lost}
end

-- Keep an exchange as a conversation's past: the newest `most`, for so long.
local function keep_exchange(history, exchange, most, ms)
  redis.call("RPUSH", history, exchange)
  redis.call("LTRIM", history, -most, -1)
  redis.call("PEXPIRE", history, ms)
end

-- Have nobody awaited in a conversation any more. Return 1; 0 if nobody was. `how`: for counters.
local function end_waiting(index, hash, stats, steps, conversation, how)
  local batch = redis.call("HGET", hash, "batch")
  redis.call("ZREM", index, conversation)
  redis.call("DEL", hash)
  if not batch then return 0 end
  redis.call("HINCRBY", stats, "handover_ended:" .. how, 1)
  trail(steps, "end_handover", batch, how)
  return 1
end

-- Return whether the customer has every part of an answer. `delivered`: part -> anything.
local function has_all(delivered, parts)
  for part = 0, tonumber(parts) - 1 do
    if not delivered[tostring(part)] then return false end
  end
  return true
end

-- Keep an answer that its provider may yet report as failed, and in two indexes where it is: that
-- of its conversation, `k.answers`, and that of its account, `k.watched`. An index lives as long
-- as the last that it has.
local function watch_answer(k, account, conversation, batch, watch_ms)
  redis.call("PEXPIRE", k.answered, watch_ms)
  local places = {[k.answers] = batch .. ":" .. account, [k.watched] = conversation .. ":" .. batch}
  for index, member in pairs(places) do
    redis.call("ZREMRANGEBYSCORE", index, "-inf", now_ms)
    redis.call("ZADD", index, now_ms + watch_ms, member)
    redis.call("PEXPIRE", index, math.max(watch_ms, redis.call("PTTL", index)))
  end
end

-- Forget where such an answer is: it is one no more.
local function unwatch_answer(k, account, conversation, batch)
  redis.call("ZREM", k.answers, batch .. ":" .. account)
  redis.call("ZREM", k.watched, conversation .. ":" .. batch)
end

-- Make an answer that did not arrive a dead letter, and take it out of the history.
local function undeliver(k, account, conversation, header, batch, part, code)
  local count = redis.call("LLEN", k.answered) - 1
  header.reason, header.detail, header.at_ms = "undelivered", code, now_ms
  header.failed, header.account, header.conversation = {[part] = code}, account, conversation
  if header.exchange then redis.call("LREM", k.history, -1, header.exchange) end
  redis.call("LSET", k.answered, 0, cjson.encode(header))
  redis.call("PERSIST", k.answered)
  redis.call("RENAME", k.answered, k.letter)
  unwatch_answer(k, account, conversation, batch)
  redis.call("ZADD", k.dead, now_ms, batch)
  redis.call("HINCRBY", k.stats, "answered", 0 - count)
  redis.call("HINCRBY", k.stats, "dead", count)
  redis.call("HINCRBY", k.stats, "dead:undelivered", count)
  alert(k.alerts, "undelivered", code, account, conversation, batch, count, 0)
  trail(k.trail, "dead_letter", batch, "undelivered", code)
end

-- End a dead letter as answered after all: the provider has it, and may still say that it did not
-- arrive, for `watch_ms`; 0 where the customer has it.
local function settle(k, account, conversation, header, batch, watch_ms)
  local count = redis.call("LLEN", k.letter) - 1
  redis.call("ZREM", k.dead, batch)
  redis.call("HINCRBY", k.stats, "dead", 0 - count)
  redis.call("HINCRBY", k.stats, "answered", count)
  header.reason, header.detail, header.failed = nil, nil, nil
  if tonumber(watch_ms) == 0 then return redis.call("DEL", k.letter) end
  redis.call("LSET", k.letter, 0, cjson.encode(header))
  redis.call("RENAME", k.letter, k.answered)
  watch_answer(k, account, conversation, batch, watch_ms)
end
