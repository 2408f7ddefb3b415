-- adopt: make a conversation that of further ids, with what their conversations knew.
-- KEYS[1]  hash    links:<conversation>
-- KEYS[2]  zset    seen:<conversation>, message digest -> ms
-- KEYS[3]  string  takeover:<conversation>
-- ARGV[2]  what is noted of the ids: {{field, value} ...} as JSON
-- ARGV[3]  how long it is remembered, ms
-- ARGV[4]  digests that the others had seen: {digest, ms, digest, ms ...} as JSON
-- ARGV[5]  age at which a digest is forgotten, ms
-- ARGV[6]  who had taken over one of the others, "" for nobody
-- ARGV[7]  how long a takeover lasts, ms
-- ARGV[8]  where it had moved to when that was read, "" nowhere
-- Returns     1; 0 it has moved elsewhere since: nothing is done.
-- Complexity  O(N log N), N = digests.
local moved = redis.call("HGET", KEYS[1], "moved")
if moved and moved ~= ARGV[8] then return 0 end
redis.call("HDEL", KEYS[1], "moved")
for _, pair in ipairs(cjson.decode(ARGV[2])) do redis.call("HSET", KEYS[1], unpack(pair)) end
redis.call("PEXPIRE", KEYS[1], ARGV[3])
local seen = cjson.decode(ARGV[4])
for n = 1, #seen, 2 do redis.call("ZADD", KEYS[2], "NX", seen[n + 1], seen[n]) end
if #seen > 0 then redis.call("PEXPIRE", KEYS[2], ARGV[5]) end
if ARGV[6] ~= "" then redis.call("SET", KEYS[3], ARGV[6], "NX", "PX", ARGV[7]) end
return 1
