-- move: have what comes for a conversation go to another; what waits in it is answered from it.
-- KEYS[1]  hash    links:<conversation>
-- KEYS[2]  zset    seen:<conversation>, message digest -> ms
-- KEYS[3]  string  takeover:<conversation>
-- ARGV[2]  the other conversation
-- ARGV[3]  how long that is remembered, ms
-- ARGV[4]  new addresses: {{field, value} ...} as JSON
-- Returns     {who has taken over or "", digest, ms, digest, ms ...} for adopt.
-- Complexity  O(N), N = digests.
redis.call("HSET", KEYS[1], "moved", ARGV[2])
for _, pair in ipairs(cjson.decode(ARGV[4])) do redis.call("HSET", KEYS[1], unpack(pair)) end
redis.call("PEXPIRE", KEYS[1], ARGV[3])
local found = {redis.call("GET", KEYS[3]) or ""}
for _, value in ipairs(redis.call("ZRANGE", KEYS[2], 0, -1, "WITHSCORES")) do
  found[#found + 1] = value
end
return found
