"""The faults that somebody might make here, each small enough to be overlooked in a review."""

from tests.mutants.patches import Mutant, in_lua, lua, python

_ALERT = "alert(KEYS[8], reason, detail, account, conversation, batch, kept, lost)\n"
_RENAME = 'redis.call("RENAME", o, f)'
_COPY = """
      for _, message in ipairs(redis.call("LRANGE", o, 0, -1)) do
        redis.call("RPUSH", f, message)
      end"""
_BEGUN = 'redis.call("HSET", KEYS[1], "state", "running", "token", token)'
_FENCED = 'if holder ~= token or (state ~= "running" and state ~= "sending"'

ACCEPTING = (
    lua("no deduplication", "append",
        'if redis.call("ZSCORE", KEYS[3], ARGV[4]) then', "if false then"),
    lua("an id is recorded before its message is accepted", "append",
        "local batch, count, first_ms, opened_with",
        'redis.call("ZADD", KEYS[3], now_ms, ARGV[4])\n'
        "local batch, count, first_ms, opened_with"),
    lua("a silent message is not deduplicated", "append",
        'if redis.call("ZSCORE", KEYS[3], ARGV[4]) then',
        'if silent == "" and redis.call("ZSCORE", KEYS[3], ARGV[4]) then'),
    lua("a silent message is not accounted", "append", 'tally("suppressed") ', ""),
    lua("unanswered content expires", "append",
        'redis.call("RPUSH", KEYS[2], ARGV[5])\n',
        'redis.call("RPUSH", KEYS[2], ARGV[5])\nredis.call("PEXPIRE", KEYS[2], 120000)\n'),
    lua("the last word comes first", "append",
        'redis.call("RPUSH", KEYS[2], ARGV[5])', 'redis.call("LPUSH", KEYS[2], ARGV[5])'),
    lua("a conversation holds any number of messages", "append",
        ">= tonumber(ARGV[9]) then", ">= 1e9 then"),
    lua("a batch obeys the limits of who wrote last", "append",
        "limits_of(KEYS[8], opened_with)", "limits_of(KEYS[8], limits_id)"),
    lua("a full batch is not due at once", "_prelude",
        "if tonumber(count) >= limits.max_messages then return last_ms end\n", "\n"),
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
        'redis.call("ZADD", KEYS[2], now_ms + wake_up_ms, conversation)'),
    lua("collect moves the content and not the counters", "collect",
        'redis.call("HINCRBY", KEYS[3], "flight", count)'),
    Mutant("content is copied now and deleted later", (
        in_lua("collect", _RENAME, _COPY),
        in_lua("begin", _BEGUN,
               _BEGUN + '\nredis.call("DEL", (string.gsub(KEYS[2], "}:f:", "}:o:")))'),
    )),
    python("expired leases are not seen to", "flow",
        "for number in watch.to_reap:", "for number in watch.to_reap[:0]:"),
    python("a shard whose heartbeat is old is not collected from", "store",
        "HEARTBEAT_RENEWED_MS = 1_000", "HEARTBEAT_RENEWED_MS = 10**9"),
    lua("a shard that cannot be read stops the others", "watch", "redis.pcall", "redis.call"),
    lua("what is due is seen a tick late", "watch", "at_ms <= now_ms", "at_ms < now_ms"),
)  # fmt: skip

FENCING = (
    lua("finish asks for no token", "finish",
        'if holder ~= token or state ~= "running" then', 'if state ~= "running" then'),
    lua("checkpoint asks for no token", "checkpoint",
        "if holder ~= token or state", "if state"),
    lua("mark_sending asks for no token", "mark_sending",
        'if holder ~= token or (state ~= "running"', 'if (state ~= "running"'),
    lua("fail asks for no token", "fail", _FENCED, _FENCED.replace("holder ~= token or ", "")),
    lua("renew asks for no token", "renew", _FENCED, _FENCED.replace("holder ~= token or ", "")),
    lua("dead_letter asks for no token", "dead_letter",
        "if id ~= batch or holder ~= token then", "if id ~= batch then"),
    lua("begin renews no lease", "begin",
        'redis.call("ZADD", KEYS[3], now_ms + limits_of(KEYS[7], limits_id).lease_ms, '
        'conversation)'),
    lua("begin takes what runs in other hands", "begin",
        ' or state ~= "claimed"'),
    lua("begin takes what is to wait, or is in doubt", "begin",
        'or state ~= "claimed"', 'or state == "running"'),
    lua("the last worker keeps its token when its batch is given up", "reap",
        'expiry, token = "spent", tostring(redis.call("HINCRBY", KEYS[2], "seq", 1))',
        'expiry = "spent"'),
    lua("a replaced worker keeps its token", "reap",
        'redis.call("HDEL", c, "token")'),
    lua("renew renews nothing", "renew",
        'redis.call("ZADD", KEYS[2], now_ms + lease_ms, conversation)'),
)  # fmt: skip

SENDING = (
    python("a part leaves although the ledger refused it", "flow",
        "    if answer != GO:\n        return False\n"),
    python("a part leaves unrecorded", "flow",
        "    store.mark_sent(run.account_id, tag, provider_id)\n"),
    python("a doubt is sent again against the policy", "flow",
        '    if batch.policy != "resend":\n        return False\n'),
    python("a lost answer of the provider is a failure like any other", "flow",
        'run, "ambiguous", status_ms, fatal', 'run, "retry", 0, fatal'),
    lua("a batch whose worker died while sending is sent again", "reap",
        'elseif state == "sending" then', 'elseif state == "never" then'),
    lua("a doubt reported twice becomes a retry", "fail",
        'if outcome == "ambiguous" and state == "ambiguous" then return 1 end\n'),
    lua("mark_sending forgets the policy", "mark_sending",
        ', "policy", resent and "alert" or policy)', ")"),
    lua("a doubt is sent again for ever", "mark_sending",
        'resent and "alert" or policy', "policy"),
    lua("a part that leaves is not the next one", "mark_sending",
        "or next_part ~= part or", "or"),
    lua("a status does not fence who gives the doubt up", "mark_sent",
        'redis.call("HDEL", KEYS[1], "token")'),
    lua("a status after the alert changes nothing", "mark_sent",
        "if header.part ~= part or", "if true or"),
    lua("a failure is alerted with every status", "mark_failed",
        'if before == "failed" then return 0 end', ""),
    lua("a part known as undelivered is sent again", "mark_failed",
        'redis.call("HSET", KEYS[1], "policy", "alert")'),
    lua("our own echo is a stranger's", "foreign",
        ' or state == "sending" or state == "ambiguous"'),
    lua("an account reports about another's batch", "_prelude",
        "(known or account) ~= account", "false"),
    lua("a tag without our seal is obeyed", "_prelude",
        'if seal ~= "0" and', "if"),
    lua("a tag that is not known to be ours is obeyed", "_prelude",
        'if seal == "" and not known then return 0 end\n'),
    python("a part is known by the provider's id alone", "store",
        "shard.sent(digest(account_id, provider_id))", "shard.sent(digest(provider_id))"),
    python("a person who took over is talked across", "flow",
        "elif run.taken_over:", "elif False:"),
    python("an answer comes after the deadline", "flow",
        "elif run.age_ms > run.limits.reply_deadline_ms:", "elif False:"),
)  # fmt: skip

ENDING = (
    lua("what waited is not due once a batch has ended", "_prelude",
        'redis.call("ZADD", due, due_at(limits_of(sets, id), count, first_ms, last_ms), '
        "conversation)\n"),
    lua("an answered batch stays in flight", "finish",
        "release(conversation, KEYS[1], KEYS[3], KEYS[9])\n"),
    lua("a dead batch stays in flight", "dead_letter",
        "release(conversation, KEYS[1], KEYS[3], KEYS[11])\n"),
    lua("a conversation at rest keeps its hash", "_prelude",
        'if not count then return redis.call("DEL", c) end', "if not count then return end"),
    lua("a batch is answered with parts to send", "finish",
        "(not parts or tonumber(part) < tonumber(parts))", "not parts"),
    lua("an answered batch keeps its content", "finish", 'redis.call("DEL", KEYS[2])\n'),
    lua("a batch dies without an alert", "dead_letter", _ALERT),
    lua("a death is alerted twice", "dead_letter", _ALERT, _ALERT * 2),
    lua("a batch dies and its content with it", "dead_letter",
        'redis.call("RENAME", KEYS[2], KEYS[7])', 'redis.call("DEL", KEYS[2])'),
    lua("what vanished is not counted", "dead_letter",
        'redis.call("HINCRBY", KEYS[5], "lost", lost)\n'),
    lua("a failed attempt is not counted", "fail",
        'redis.call("HINCRBY", KEYS[1], "attempt", 1)', ""),
    lua("a dead worker's attempt is not counted", "reap",
        'attempt = redis.call("HINCRBY", c, "attempt", 1)'),
    lua("a failure waits for nothing", "fail",
        'redis.call("ZADD", KEYS[2], now_ms + wait_ms, conversation)'),
    python("spent attempts make no dead letter", "flow",
        "        dead_letter(store, run, fatal, code)\n",
        "        pass\n"),
    python("a batch that kills its workers becomes no dead letter", "flow",
        'dead_letter(store, batch, Reason.POISON, "worker_died")', "pass"),
    python("a refusal for good is swallowed", "flow",
        "dead_letter(store, run, fatal, error.code)", "pass"),
)  # fmt: skip

OPERATING = (
    lua("a replayed batch is not due", "replay",
        'redis.call("ZADD", KEYS[3], now_ms, conversation)'),
    lua("a replayed batch is turned round", "replay",
        'redis.call("RPOPLPUSH", KEYS[6], KEYS[2])',
        'redis.call("LPUSH", KEYS[2], redis.call("LPOP", KEYS[6]))'),
    lua("a replay ignores how much a conversation may hold", "replay",
        "if held > 0 and held + count > tonumber(ARGV[7]) then return -2 end\n"),
    lua("what is too large for its conversation is never replayed", "replay",
        "if held > 0 and held", "if held"),
    lua("discard leaves the counters as they were", "discard",
        'redis.call("HINCRBY", KEYS[1], "dead", 0 - count)'),
    lua("erase leaves the lease", "erase", 'redis.call("ZREM", KEYS[8], conversation)'),
)  # fmt: skip

BETWEEN_RELEASES = (
    lua("a limit that another release lacks has no default", "_prelude",
        "tonumber(found[name]) or default", "tonumber(found[name])"),
    lua("bare numbers of limits are not read", "_prelude",
        'string.match(id or "", "^(%d+) (', 'string.match(id or "", "^x(%d+) ('),
    lua("limits are not kept by name", "append",
        '  redis.call("HSETNX", KEYS[8], limits_id, ARGV[8])\n'),
    lua("limits of a replayed batch are not kept by name", "replay",
        '  redis.call("HSETNX", KEYS[9], limits_id, ARGV[6])\n'),
    python("a limit of another release stops a batch", "model",
        "if name in names and type(value) is int", "if type(value) is int"),
    python("sets of limits with other names share an id", "model",
        "    if tuple(named) != _POSITIONS:", "    if False:"),
    python("limits that cannot be read stop a batch", "store",
        "limits=limits or Limits(),", "limits=limits,"),
    python("a message of a newer release stops its batch", "model",
        "sent_at_ms, kind, media, *_ = kept", "sent_at_ms, kind, media = kept"),
    python("a message of another release lacks a field", "model",
        '    kept += ("", "", "", 0, Kind.TEXT, None)[len(kept) :]\n'),
)  # fmt: skip

MUTANTS = (
    *(*ACCEPTING, *COLLECTING, *FENCING, *SENDING, *ENDING, *OPERATING),
    *BETWEEN_RELEASES,
)
