max_line_length = 100
files["batching/lua"] = {
  std = "lua51",
  read_globals = {"redis", "cjson", "KEYS", "ARGV"},
  -- The server does not have these, or they have no business in a script.
  not_globals = {"arg", "dofile", "io", "loadfile", "module", "os", "package", "print", "require"},
}
-- Runs inside wrk, which calls the functions.
files["bench"] = {std = "luajit", globals = {"init", "request", "done"}}
