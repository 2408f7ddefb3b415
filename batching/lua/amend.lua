-- amend: put what edits and deletions leave in place of what is kept, if that is still as it was.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  hash    stats
-- KEYS[3]  zset    overdue
-- KEYS[4]  zset    dead
-- KEYS[5]  list    trail:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  token; "kin": of a batch of another conversation of the customer's
-- ARGV[4]  key prefix of the shard; f:, o:, history:<conversation>, d:<batch> and
--          answered:<conversation>:<batch> are made from it
-- ARGV[5]  lists, JSON: {{name, number of elements read, their SHA-1, {element ...}} ...}; name: f,
--          o, history, answered:<batch>, or the batch of a dead letter; what came behind stays
-- ARGV[6]  messages that end by this, JSON: reason -> how many
-- Returns     1; 0 if a list changed, it is no run's of generate, or kin's f is asked about.
-- Complexity  O(N + log D), N = elements of the lists, D = dead letters.
local conversation, token, prefix = ARGV[2], ARGV[3], ARGV[4]
local lists, reasons = cjson.decode(ARGV[5]), cjson.decode(ARGV[6])
local holder, state, stage, batch, open_id, spent = unpack(redis.call("HMGET", KEYS[1],
  "token", "state", "stage", "id", "open_id", "spent"))
local is_asking = state == "running" and stage == "generate"
local is_asked = is_asking and not spent or stage ~= "generate"
if token ~= "kin" and not (holder == token and is_asking) then return 0 end
for _, list in ipairs(lists) do
  local name, count, sha, own = list[1], list[2], list[3], {f = 1, o = 1, history = 1}
  list.answered = string.match(name, "^answered:(.*)$")
  list.key = prefix .. (own[name] and name .. ":" .. conversation
    or list.answered and "answered:" .. conversation .. ":" .. list.answered or "d:" .. name)
  local found = redis.call("LRANGE", list.key, 0, count - 1)
  if #found ~= count or redis.sha1hex(table.concat(found, "\n")) ~= sha then return 0 end
  if token == "kin" and name == "f" and is_asked then return 0 end
end
for _, list in ipairs(lists) do
  local name, count, elements = list[1], list[2], list[4]
  local ended = count - #elements
  for n, element in ipairs(elements) do redis.call("LSET", list.key, ended + n - 1, element) end
  redis.call("LTRIM", list.key, ended, -1)
  if name == "f" then
    redis.call("HINCRBY", KEYS[1], "count", 0 - ended)
    redis.call("HINCRBY", KEYS[2], "flight", 0 - ended)
  elseif name == "o" then
    redis.call("HINCRBY", KEYS[2], "open", 0 - ended)
    if redis.call("HINCRBY", KEYS[1], "open_count", 0 - ended) == 0 then
      redis.call("HDEL", KEYS[1], "open_id", "open_count", "open_first", "open_last", "open_limits",
        "open_heard", "open_pause")
      redis.call("ZREM", KEYS[3], conversation .. ":" .. open_id)
    end
  elseif name ~= "history" and not list.answered then -- What was answered stays counted so.
    redis.call("HINCRBY", KEYS[2], "dead", 0 - ended)
    if #elements == 1 then -- Its header alone is nobody's message.
      redis.call("DEL", list.key)
      redis.call("ZREM", KEYS[4], name)
    end
  end
end
for reason, count in pairs(reasons) do
  redis.call("HINCRBY", KEYS[2], "suppressed", count)
  redis.call("HINCRBY", KEYS[2], "suppressed:" .. reason, count)
end
trail(KEYS[5], "amend", batch or "-")
return 1
