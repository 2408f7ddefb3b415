-- end_handover: have nobody awaited in a conversation any more, because a person decided so.
-- KEYS[1]  zset    handovers
-- KEYS[2]  hash    handover:<conversation>
-- KEYS[3]  hash    stats
-- KEYS[4]  list    trail:<conversation>
-- ARGV[2]  conversation id
-- ARGV[3]  how: resumed, declined, or answered by a person under another id of the customer
-- Returns     1; 0 if nobody was awaited.
-- Complexity  O(log N), N = conversations in which a person is awaited.
return end_waiting(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[2], ARGV[3])
