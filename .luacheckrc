std = "lua54"
max_line_length = 110
ignore = { "211/_.*" } -- local _guard <close>: named, never read
files["spec"] = { std = "+busted" }
files["*.rockspec"] = { std = "+rockspec" }
