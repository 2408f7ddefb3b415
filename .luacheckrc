max_line_length = 100
files["batching/lua"] = {
  std = "lua51",
  read_globals = {
    "redis", "cjson", "KEYS", "ARGV",
    -- What _prelude.lua, which store.py puts before each script, gives them.
    "publish",
    "now_ms", "alert", "count_sent", "due_at", "elsewhere", "claimed", "end_waiting", "flusher_lag", "has_all", "header_of",
    "before_it_was_put_back", "is_spent", "is_superseded", "is_whole", "keep_exchange", "limits_of", "once", "raise_overdue", "release", "remember",
    "remember_part", "reported", "sent_at", "settle", "to_dead_letter", "trail", "undeliver", "until_now", "unwatch_answer", "watch_answer",
  },
  -- The server does not have these, or they have no business in a script.
  not_globals = {"arg", "dofile", "io", "loadfile", "module", "os", "package", "print", "require"},
}
-- It stands before the scripts, which use what it defines.
files["batching/lua/_prelude.lua"] = {ignore = {"211"}}
-- Runs inside wrk, which calls the functions.
files["bench"] = {std = "luajit", globals = {"init", "request", "done"}}
