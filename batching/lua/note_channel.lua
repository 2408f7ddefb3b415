-- note_channel: keep that an account's channel is lost or well again; alert when that is news.
-- KEYS[1]  hash    channels: account -> gravity, ms and detail of a channel that is lost
-- KEYS[2]  stream  alerts
-- KEYS[3]  hash    stats
-- ARGV[2]  account id
-- ARGV[3]  gravity: 0 it is well; a graver loss than the known one is news
-- ARGV[4]  detail, in plain words
-- Returns     1 a person is alerted by this; 0 it was known.
-- Complexity  O(1).
local account, gravity, detail = ARGV[2], tonumber(ARGV[3]), ARGV[4]

local known = redis.call("HGET", KEYS[1], account)
local before = tonumber(string.match(known or "", "^%d+")) or 0
if gravity == 0 and not known or gravity > 0 and gravity <= before then return 0 end
if gravity == 0 then
  redis.call("HDEL", KEYS[1], account)
  alert(KEYS[2], "channel_recovered", detail, account)
else
  redis.call("HSET", KEYS[1], account, table.concat({gravity, now_ms, detail}, " "))
  alert(KEYS[2], "channel_lost", detail, account)
end
redis.call("HINCRBY", KEYS[3], "alarms", 1)
return 1
