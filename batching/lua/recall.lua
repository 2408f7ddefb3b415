-- recall: return what a question to the model is made of, and what waits behind it.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  list    f:<conversation>, oldest first
-- KEYS[3]  list    o:<conversation>, oldest first
-- KEYS[4]  list    history:<conversation>, oldest exchange first
-- KEYS[5]  hash    links:<conversation>
-- ARGV[2]  token; "kin": of a conversation whose batch is not the caller's
-- Returns     {messages counted in flight, {message JSON ...} in flight, {message JSON ...} open,
--             {exchange JSON ...}, where new messages go instead or ""}; {} if the token is not
--             (or no longer) that of a run of generate.
-- Complexity  O(M + E), M = messages of the conversation, E = exchanges.
local token = ARGV[2]

local holder, state, stage, count = unpack(redis.call("HMGET", KEYS[1],
  "token", "state", "stage", "count"))
local is_held = holder == token and state == "running" and stage == "generate"
if token ~= "kin" and not is_held then return {} end
return {tonumber(count or 0), redis.call("LRANGE", KEYS[2], 0, -1),
  redis.call("LRANGE", KEYS[3], 0, -1), redis.call("LRANGE", KEYS[4], 0, -1),
  redis.call("HGET", KEYS[5], "moved") or ""}
