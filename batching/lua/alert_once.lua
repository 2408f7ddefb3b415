-- alert_once: alert about what repeats, not more often than asked; it may open a circuit too.
-- KEYS[1]  string  cooldown:<account>:<kind>, there for a while after such an alert
-- KEYS[2]  stream  alerts
-- KEYS[3]  hash    stats
-- KEYS[4]  string  circuit:<account>, there while the account must not send; not given: none
-- ARGV[2]  kind
-- ARGV[3]  detail, in plain words or an error code
-- ARGV[4]  account id; "" if it is about the whole installation
-- ARGV[5]  cooldown: how long further alerts of this kind are left out, ms
-- ARGV[6]  how long the circuit stays open before the account is tried again, ms
-- Returns     1 a person is alerted by this; 0 that was done lately.
-- Complexity  O(1).
local kind, detail, account, cooldown_ms = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if KEYS[4] then once(KEYS[4], detail, ARGV[6]) end
if not once(KEYS[1], detail, cooldown_ms) then return 0 end
alert(KEYS[2], kind, detail, account)
redis.call("HINCRBY", KEYS[3], KEYS[4] and kind or "alarms", 1)
return 1
