-- mark_failed: record that a part never arrived. True whoever reports it: it takes no token.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  zset    lease
-- KEYS[3]  string  sent:<provider message id>
-- KEYS[4]  string  sent:<provider message id>, as earlier releases named it
-- KEYS[5]  list    d:<batch>, its first element is the header
-- KEYS[6]  hash    stats
-- KEYS[7]  stream  alerts
-- KEYS[8]  string  cooldown:<account>:status_refused, there for an hour after such an alert
-- ARGV[2]  conversation id
-- ARGV[3]  account id, of the channel that says so
-- ARGV[4]  batch id
-- ARGV[5]  part, from 0
-- ARGV[6]  the seal of the tag: 1 this account's; 0 not; "" none, as in earlier releases
-- ARGV[7]  how long the provider's id is remembered, ms
-- ARGV[8]  an error code, "" if there is none
-- Returns     1 a person is alerted by this; 0 was alerted before, or will be by reap; -1 the part
--             is another account's, and nothing is recorded.
-- Complexity  O(log N), N = leases.
local conversation, account, batch, part = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local believed, awaited, state = reported(KEYS[1], KEYS[5], KEYS[6], KEYS[7], KEYS[8],
  conversation, account, batch, part, ARGV[6])
if believed < 1 then return believed end
local before = redis.call("GET", KEYS[3])
remember_part("failed", KEYS[3], KEYS[4], ARGV[7])
if before == "failed" then return 0 end
redis.call("HINCRBY", KEYS[6], "undelivered", 1)
if awaited and state == "ambiguous" then
  -- Certain now, and not sent again: the next reap makes it a dead letter, with its alert.
  redis.call("HSET", KEYS[1], "policy", "alert")
  redis.call("ZADD", KEYS[2], now_ms, conversation)
  return 0
end
alert(KEYS[7], "undelivered", ARGV[8], account, conversation, batch)
return 1
