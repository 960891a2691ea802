std = "lua54"
max_line_length = 120
ignore = {
  "211/_.*", -- local _guard <close>: named, never read
  "581",     -- not (x > 0): NaN is refused, too
}
files["spec"] = { std = "+busted" }
files["fuzz/targets"] = { read_globals = { "fuzz" } } -- fuzz.c
files["*.rockspec"] = { std = "+rockspec" }
