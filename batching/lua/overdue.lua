-- overdue: alert once of batches that wait too long, where nobody reaps.
-- KEYS[1]  zset    overdue
-- KEYS[2]  hash    stats
-- KEYS[3]  stream  alerts
-- ARGV[2]  key prefix of the shard; c: and trail:<conversation> are made from it
-- ARGV[3]  most batches
-- Returns     {{conversation, batch, account} ...}.
-- Complexity  O(k log N), k = batches alerted of, N = waiting batches.
return raise_overdue(KEYS[1], KEYS[2], KEYS[3], ARGV[2], ARGV[3])
