-- alert_once: alert about what repeats, not more often than asked.
-- KEYS[1]  string  cooldown:<account>:<kind>, there for a while after such an alert
-- KEYS[2]  stream  alerts
-- KEYS[3]  hash    stats
-- ARGV[2]  kind
-- ARGV[3]  detail, in plain words or an error code
-- ARGV[4]  account id; "" if it is about the whole installation
-- ARGV[5]  cooldown: how long further alerts of this kind are left out, ms
-- Returns     1 a person is alerted by this; 0 that was done lately.
-- Complexity  O(1).
local kind, detail, account, cooldown_ms = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if not once(KEYS[1], detail, cooldown_ms) then return 0 end
alert(KEYS[2], kind, detail, account)
redis.call("HINCRBY", KEYS[3], "alarms", 1)
return 1
