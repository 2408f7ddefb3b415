-- mark_delivered: record that the customer has a part. That outweighs a failure, in any order.
-- KEYS[1]  hash    c:<conversation>
-- KEYS[2]  string  sent:<provider message id>
-- KEYS[3]  string  sent:<provider message id>, as earlier releases named it
-- KEYS[4]  list    d:<batch>, its first element is the header
-- KEYS[5]  hash    stats
-- KEYS[6]  zset    dead
-- KEYS[7]  list    trail:<conversation>
-- KEYS[8]  list    answered:<conversation>:<batch>, its first element is the header
-- KEYS[9]  zset    answered:<conversation>
-- KEYS[10]  zset    watched:<account>
-- ARGV[2]  conversation id
-- ARGV[3]  account id, of the channel that says so
-- ARGV[4]  batch id
-- ARGV[5]  part, from 0
-- ARGV[6]  the seal of the tag: 1 this account's; 0 not; "" none, as in earlier releases
-- ARGV[7]  how long the provider's id is remembered, ms
-- ARGV[8]  how long the provider may report that an answer did not arrive, ms
-- Returns     2 this settled a dead letter; 1 the customer has all of an answer, whose content is
--             forgotten; 0 there is more to come; -1 the part is another account's,
--             which mark_sent has counted.
-- Complexity  O(log N), N = dead letters.
local conversation, account, batch, part = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local believed, _, _, header, has_part = reported(KEYS[1], KEYS[4], nil, nil, nil,
  conversation, account, batch, part, ARGV[6])
if believed < 1 then return believed end
local record = conversation .. ":" .. batch .. ":" .. part .. ":delivered"
remember_part(record, KEYS[2], KEYS[3], ARGV[7])
if has_part then
  local before = redis.call("HGET", KEYS[1], "delivered") or ""
  if string.sub(before, 1, #batch + 1) ~= batch .. ":" then before = batch .. ":" end
  redis.call("HSET", KEYS[1], "delivered", before .. part .. " ")
  return 0
end
local is_dead = header.parts
local where = is_dead and KEYS[4] or KEYS[8]
if not is_dead then header = header_of(where) end
if not header.parts then return 0 end
header.delivered = header.delivered or {}
header.delivered[part] = 1
if header.failed then header.failed[part] = nil end
redis.call("LSET", where, 0, cjson.encode(header))
local has_left = header.part == header.parts and not next(header.failed or {})
local whole = has_all(header.delivered, header.parts)
if is_dead and has_left then
  trail(KEYS[7], "mark_delivered", batch, part)
  settle({letter = KEYS[4], stats = KEYS[5], dead = KEYS[6], answered = KEYS[8],
    answers = KEYS[9], watched = KEYS[10]},
    account, conversation, header, batch, whole and 0 or ARGV[8])
  return 2
end
if is_dead or not whole then return 0 end
trail(KEYS[7], "mark_delivered", batch, part)
redis.call("DEL", KEYS[8])
unwatch_answer({answers = KEYS[9], watched = KEYS[10]}, account, conversation, batch)
return 1
