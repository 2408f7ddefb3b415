-- mark_failed: record that a part never arrived, and give its batch to a person. It takes no token.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  string  sent:<provider message id>
-- KEYS[4]  string  sent:<provider message id>, as earlier releases named it
-- KEYS[5]  list    d:<batch>, its first element is the header
-- KEYS[6]  hash    stats
-- KEYS[7]  stream  alerts
-- KEYS[8]  string  cooldown:<account>:status_refused, there for an hour after such an alert
-- KEYS[9]  zset    dead
-- KEYS[10]  list    trail:<conversation>
-- KEYS[11]  list    answered:<conversation>:<batch>, as d:<batch>
-- KEYS[12]  zset    answered:<conversation>
-- KEYS[13]  zset    watched:<account>
-- KEYS[14]  list    history:<conversation>, oldest exchange first
-- KEYS[15]  string  cooldown:<account>:undelivered:<conversation>:<batch>
-- ARGV[2]  conversation id
-- ARGV[3]  account id, of the channel that says so
-- ARGV[4]  batch id
-- ARGV[5]  part, from 0
-- ARGV[6]  the seal of the tag: 1 this account's; 0 not; "" none, as in earlier releases
-- ARGV[7]  how long the provider's id is remembered, ms
-- ARGV[8]  an error code, "" if there is none
-- Returns     1 a person is alerted by this; 0 was alerted before, or will be by reap, or the
--             customer has the part; -1 the part is another account's.
-- Complexity  O(log N + H), N = leases or dead letters, H = exchanges of the history.
local conversation, account, batch, part, code = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[8]
local believed, _, _, header, has_part = reported(KEYS[1], KEYS[5], KEYS[6], KEYS[7], KEYS[8],
  conversation, account, batch, part, ARGV[6])
if believed < 1 then return believed end
local before = redis.call("GET", KEYS[3]) or ""
if before == "failed" or string.match(before, ":delivered$") then return 0 end
remember_part("failed", KEYS[3], KEYS[4], ARGV[7])
redis.call("HINCRBY", KEYS[6], "undelivered", 1)
if redis.call("EXISTS", KEYS[10]) == 1 then trail(KEYS[10], "mark_failed", batch, part, code) end
local is_first = once(KEYS[15], code, ARGV[7])
if has_part then
  -- Whoever sends it loses the batch, which the next reap makes a dead letter: see to_dead_letter.
  local token = redis.call("HINCRBY", KEYS[6], "seq", 1)
  redis.call("HSET", KEYS[1], "state", "ambiguous", "policy", "alert", "token", token,
    "failed", batch .. ":" .. part .. ":" .. code)
  redis.call("ZADD", KEYS[2], now_ms, conversation)
  return 0
end
if redis.call("LLEN", KEYS[11]) > 0 then
  undeliver({letter = KEYS[5], stats = KEYS[6], alerts = KEYS[7], dead = KEYS[9], trail = KEYS[10],
    answered = KEYS[11], answers = KEYS[12], watched = KEYS[13], history = KEYS[14]}, account,
    conversation, header_of(KEYS[11]), batch, part, code)
  return 1
elseif header.conversation then
  header.failed = header.failed or {}
  header.failed[part] = code
  if header.reason == "ambiguous" then header.reason, header.detail = "undelivered", code end
  redis.call("LSET", KEYS[5], 0, cjson.encode(header))
elseif is_first then
  alert(KEYS[7], "undelivered", code, account, conversation, batch)
  return 1
end
return 0
