-- spend: count one question to the model against four budgets, or say why it may not be asked.
-- KEYS[1]  hash    spent:<conversation>: count, until, token of the run that was counted last
-- KEYS[2]  hash    spent:<conversation>:day: count, until
-- KEYS[3]  hash    spent:<account>: count, until
-- KEYS[4]  hash    spent:*: count, until
-- KEYS[5]  string  cooldown:<account>:budget_conversation, there for an hour after such an alert
-- KEYS[6]  string  cooldown:<account>:budget_conversation_day
-- KEYS[7]  string  cooldown:<account>:budget_account
-- KEYS[8]  string  cooldown:*:budget_installation
-- KEYS[9]  string  cooldown:*:model_off
-- KEYS[10]  string  model_off, there while a person has switched the model off
-- KEYS[11]  stream  alerts
-- KEYS[12]  hash   stats
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  token of the run that asks
-- ARGV[5]  most questions of a conversation in an hour
-- ARGV[6]  most questions of a conversation in a day
-- ARGV[7]  most questions of an account in a day
-- ARGV[8]  most questions of the installation in a day
-- Returns     nothing if it is counted: ask. Else {why not, ms until the window ends or nothing if
--             that is unknown, 1 if a person is alerted by this}.
-- Complexity  O(1).
local conversation, account, token = ARGV[2], ARGV[3], ARGV[4]
local budgets = {
  {KEYS[1], tonumber(ARGV[5]), 3600000, KEYS[5], "budget_conversation"},
  {KEYS[2], tonumber(ARGV[6]), 86400000, KEYS[6], "budget_conversation_day"},
  {KEYS[3], tonumber(ARGV[7]), 86400000, KEYS[7], "budget_account"},
  {KEYS[4], tonumber(ARGV[8]), 86400000, KEYS[8], "budget_installation"},
}
local function refuse(wait_ms, cooldown, why)
  local first = once(cooldown, why, 3600000)
  if first then alert(KEYS[11], why, why, account, conversation) end
  redis.call("HINCRBY", KEYS[12], "unasked:" .. why, 1)
  return {why, wait_ms, first and 1 or 0}
end

if redis.call("EXISTS", KEYS[10]) == 1 then return refuse(false, KEYS[9], "model_off") end
-- A run asks once: its first call was carried out, and the answer got lost.
if redis.call("HGET", KEYS[1], "token") == token then return false end
for _, budget in ipairs(budgets) do
  local count, until_ms = unpack(redis.call("HMGET", budget[1], "count", "until"))
  budget.fresh = not until_ms or now_ms >= tonumber(until_ms)
  if not budget.fresh and tonumber(count) >= budget[2] then
    return refuse(until_ms - now_ms, budget[4], budget[5])
  end
end
for _, budget in ipairs(budgets) do
  if budget.fresh then
    redis.call("HSET", budget[1], "count", 0, "until", now_ms + budget[3])
    redis.call("PEXPIRE", budget[1], budget[3])
  end
  redis.call("HINCRBY", budget[1], "count", 1)
end
redis.call("HSET", KEYS[1], "token", token)
redis.call("HINCRBY", KEYS[12], "asked", 1)
return false
