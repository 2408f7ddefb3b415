"""The faults that somebody might make here, each small enough to be overlooked in a review."""

from tests.mutants.patches import Mutant, in_lua, lua, python

_ALERT = """redis.call("XADD", KEYS[8], "*", "kind", reason, "detail", ARGV[6], "account", account,
  "conversation", conversation, "batch", batch, "kept", kept, "lost", lost, "at_ms", now_ms)
"""
_RENAME = 'redis.call("RENAME", o, f)'
_COPY = """
      for _, message in ipairs(redis.call("LRANGE", o, 0, -1)) do
        redis.call("RPUSH", f, message)
      end"""
_BEGUN = 'redis.call("HSET", KEYS[1], "state", "running", "token", token)'
_HELD = 'if holder ~= token or (state ~= "running" and state ~= "sending"'

ACCEPTING = (
    lua("no deduplication", "append",
        'if redis.call("ZSCORE", KEYS[3], ARGV[4]) then', "if false then"),
    lua("an id is recorded before its message is accepted", "append",
        "local batch, count, first_ms, opened_with",
        'redis.call("ZADD", KEYS[3], now_ms, ARGV[4])\n'
        "local batch, count, first_ms, opened_with"),
    lua("a silent message is not deduplicated", "suppress",
        'if redis.call("ZSCORE", KEYS[1], ARGV[2]) then', "if false then"),
    lua("unanswered content expires", "append",
        'redis.call("RPUSH", KEYS[2], ARGV[5])\n',
        'redis.call("RPUSH", KEYS[2], ARGV[5])\nredis.call("PEXPIRE", KEYS[2], 120000)\n'),
    lua("the last word comes first", "append",
        'redis.call("RPUSH", KEYS[2], ARGV[5])', 'redis.call("LPUSH", KEYS[2], ARGV[5])'),
    lua("a conversation holds any number of messages", "append",
        ">= tonumber(ARGV[7]) then", ">= 1e9 then"),
    lua("a batch obeys the limits of whoever wrote last", "append",
        "elseif opened_with ~= stamp then", "elseif false then"),
    lua("a full batch is not due at once", "append",
        "then due_ms = now_ms end", "then due_ms = due_ms end"),
    lua("a message makes due what is in flight", "append",
        "if not flying then redis", "if true then redis"),
    python("two businesses share the chat with one customer", "keys",
        "self.digest(account_id, customer)}", "self.digest(customer)}"),
)  # fmt: skip

COLLECTING = (
    Mutant("a second batch is put in flight beside the first", (
        in_lua("append", "if not flying then redis", "if true then redis"),
        in_lua("collect", "elseif not flying then", "else"),
    )),
    lua("what was collected stays due", "collect", 'redis.call("ZREM", KEYS[1], conversation)'),
    lua("collect takes no lease", "collect",
        'redis.call("ZADD", KEYS[2], now_ms + ring_ms, conversation)'),
    lua("collect moves the content and not the books", "collect",
        'redis.call("HINCRBY", KEYS[3], "flight", count)'),
    Mutant("content is copied now and deleted later", (
        in_lua("collect", _RENAME, _COPY),
        in_lua("begin", _BEGUN,
               _BEGUN + '\nredis.call("DEL", (string.gsub(KEYS[2], "}:f:", "}:o:")))'),
    )),
    python("nobody looks at expired leases", "flow",
        "for reaped in store.reap(shard, limit=limit):",
        "for reaped in store.reap(shard, limit=limit)[:0]:"),
)  # fmt: skip

FENCING = (
    lua("finish asks for no token", "finish",
        'if holder ~= token or state ~= "running" then', 'if state ~= "running" then'),
    lua("checkpoint asks for no token", "checkpoint",
        "if holder ~= token or state", "if state"),
    lua("depart asks for no token", "mark_sending",
        'if holder ~= token or (state ~= "running"', 'if (state ~= "running"'),
    lua("fail asks for no token", "fail", _HELD, _HELD.replace("holder ~= token or ", "")),
    lua("extend asks for no token", "extend", _HELD, _HELD.replace("holder ~= token or ", "")),
    lua("bury asks for no token", "dead_letter",
        "if id ~= batch or holder ~= token then", "if id ~= batch then"),
    lua("begin renews no lease", "begin",
        'redis.call("ZADD", KEYS[3], now_ms + lease_ms, conversation)'),
    lua("begin takes what runs in other hands", "begin",
        'if flight[4] ~= "claimed" then', "if false then"),
    lua("begin takes what is to wait, or is in doubt", "begin",
        'if flight[4] ~= "claimed" then', 'if flight[4] == "running" then'),
    lua("the last worker keeps its token when its batch is given up", "reap",
        'verdict, token = "spent", tostring(redis.call("HINCRBY", KEYS[2], "seq", 1))',
        'verdict = "spent"'),
    lua("a replaced worker keeps its token", "reap",
        'redis.call("HDEL", c, "token")'),
    lua("extend extends nothing", "extend",
        'redis.call("ZADD", KEYS[2], now_ms + lease_ms, conversation)'),
)  # fmt: skip

SENDING = (
    python("a part leaves although the ledger refused it", "flow",
        "    if leave != GO:\n        return False\n"),
    python("a part leaves unrecorded", "flow", "    store.left(tag, provider_id)\n"),
    python("a doubt is sent again against the policy", "flow",
        'elif reaped.policy != "resend" or store.fail', "elif store.fail"),
    python("a lost answer of the provider is a failure like any other", "settling",
        'run, "ambiguous", store.pace.ambiguous_ms, fatal', 'run, "retry", 0, fatal'),
    lua("a batch whose worker died while sending is sent again", "reap",
        'elseif state == "sending" then', 'elseif state == "never" then'),
    lua("a doubt told twice becomes a retry", "fail",
        'if verdict == "ambiguous" and state == "ambiguous" then return 1 end\n'),
    lua("depart forgets the policy", "mark_sending",
        ', "policy", resent and "alert" or policy)', ")"),
    lua("a doubt is sent again for ever", "mark_sending",
        'resent and "alert" or policy', "policy"),
    lua("a part that leaves is not the next one", "mark_sending",
        "or next_part ~= part or", "or"),
    lua("a status does not stop whoever gives the doubt up", "left",
        '    redis.call("HDEL", KEYS[1], "token")\n'),
    lua("a status after the alert changes nothing", "left",
        "if not why then return 0 end", "if true then return 0 end"),
    lua("a part known as undelivered is sent again", "undelivered",
        'redis.call("HSET", KEYS[1], "policy", "alert")'),
    lua("our own echo is a stranger's", "foreign",
        ' or state == "sending" or state == "ambiguous"'),
    python("a person who took over is talked across", "flow",
        "elif run.taken_over:", "elif False:"),
    python("an answer comes after the deadline", "flow",
        "elif run.age_ms > run.limits.reply_deadline_ms:", "elif False:"),
)  # fmt: skip

ENDING = (
    lua("what waited is not due once a batch is answered", "finish",
        'redis.call("ZADD", KEYS[3], due_ms, conversation)\n'),
    lua("what waited is not due once a batch is dead", "dead_letter",
        'redis.call("ZADD", KEYS[3], due_ms, conversation)\n'),
    lua("a batch is answered with parts to send", "finish",
        "(not parts or tonumber(part) < tonumber(parts))", "not parts"),
    lua("an answered batch keeps its content", "finish", 'redis.call("DEL", KEYS[2])\n'),
    lua("a batch dies and nobody is told", "dead_letter", _ALERT),
    lua("a death is told twice", "dead_letter", _ALERT, _ALERT * 2),
    lua("a batch dies and its content with it", "dead_letter",
        'redis.call("RENAME", KEYS[2], KEYS[7])', 'redis.call("DEL", KEYS[2])'),
    lua("what vanished is not booked", "dead_letter",
        'redis.call("HINCRBY", KEYS[5], "lost", lost)\n'),
    lua("a failed attempt is not counted", "fail",
        'redis.call("HINCRBY", KEYS[1], "attempt", 1)', ""),
    lua("a dead worker's attempt is not counted", "reap",
        'attempt = redis.call("HINCRBY", c, "attempt", 1)'),
    lua("a failure waits for nothing", "fail",
        'redis.call("ZADD", KEYS[2], now_ms + wait_ms, conversation)'),
    python("spent attempts bury nothing", "settling",
        "        bury(store, run.ring, run.token, run.account_id, fatal, code)\n",
        "        pass\n"),
    python("a batch that kills its workers is not buried", "flow",
        'bury(store, ring, token, account_id, Reason.POISON, "worker_died")', "pass"),
    python("a refusal for good is swallowed", "settling",
        "bury(store, run.ring, run.token, run.account_id, fatal, error.code)", "pass"),
)  # fmt: skip

OPERATING = (
    lua("a replayed batch is not due", "replay",
        'redis.call("ZADD", KEYS[3], now_ms, conversation)'),
    lua("a replayed batch is turned round", "replay",
        'redis.call("RPOPLPUSH", KEYS[6], KEYS[2])',
        'redis.call("LPUSH", KEYS[2], redis.call("LPOP", KEYS[6]))'),
    lua("discard leaves the books as they were", "discard",
        'redis.call("HINCRBY", KEYS[1], "dead", 0 - count)'),
    lua("erase leaves the lease", "erase", 'redis.call("ZREM", KEYS[8], conversation)'),
)  # fmt: skip

MUTANTS = (*ACCEPTING, *COLLECTING, *FENCING, *SENDING, *ENDING, *OPERATING)
