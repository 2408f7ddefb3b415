-- move: have what comes for a conversation go to another; what waits in it is answered from it.
-- KEYS[1]  hash    links:<conversation>
-- KEYS[2]  zset    seen:<conversation>, message digest -> ms
-- KEYS[3]  string  takeover:<conversation>
-- ARGV[2]  the other conversation
-- ARGV[3]  how long that is remembered, ms
-- ARGV[4]  new addresses: {{field, value} ...} as JSON
-- ARGV[5]  where it had moved to when that was read, "" nowhere
-- ARGV[6]  the conversations whose past the other has, space-separated
-- Returns     {who has taken over or "", digest, ms, digest, ms ...} for adopt; {} if it has moved
--             elsewhere since, or has taken in one whose past the other has not: nothing is done.
-- Complexity  O(N + K), N = digests, K = links.
local target, has = ARGV[2], {}
for conversation in string.gmatch(ARGV[6], "%S+") do has["kin:" .. conversation] = true end
local moved = redis.call("HGET", KEYS[1], "moved")
if moved and moved ~= target and moved ~= ARGV[5] then return {} end
local links = redis.call("HGETALL", KEYS[1])
for n = 1, #links, 2 do
  if string.match(links[n], "^kin:") and not has[links[n]] then return {} end
end
redis.call("HSET", KEYS[1], "moved", target)
for _, pair in ipairs(cjson.decode(ARGV[4])) do redis.call("HSET", KEYS[1], unpack(pair)) end
redis.call("PEXPIRE", KEYS[1], ARGV[3])
local found = {redis.call("GET", KEYS[3]) or ""}
for _, value in ipairs(redis.call("ZRANGE", KEYS[2], 0, -1, "WITHSCORES")) do
  found[#found + 1] = value
end
return found
