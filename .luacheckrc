std = "lua54"
max_line_length = 120
exclude_files = { "build", "runs", "T" }
files["spec"] = { std = "+busted" }
files["rockspec"] = { std = "+rockspec" }
