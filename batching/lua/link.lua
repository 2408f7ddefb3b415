-- link: remember that a second id belongs to a conversation; move it only by order.
-- KEYS[1]  string  alias:<account>:<digest of the second id>
-- KEYS[2]  stream  alerts
-- ARGV[2]  conversation id
-- ARGV[3]  account id
-- ARGV[4]  how long it is remembered, ms
-- ARGV[5]  1: it belongs there from now on, wherever it did
-- Returns     1 it belongs there; 0 it belongs to another conversation, and a person is alerted.
-- Complexity  O(1).
local conversation, account, kept_ms = ARGV[2], ARGV[3], ARGV[4]

local owner = redis.call("GET", KEYS[1])
if owner and owner ~= conversation and ARGV[5] ~= "1" then
  alert(KEYS[2], "alias_conflict", owner, account, conversation)
  return 0
end
redis.call("SET", KEYS[1], conversation, "PX", kept_ms)
return 1
