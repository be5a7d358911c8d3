-- make docs: the reference of all that the library offers, as one Markdown file: docs.lua FILE. Operations and layers
-- tell themselves; functions of Lua have the comments above them.
local core = require("pelk.core")
local pelk = require("pelk")

local out = {}
local function add(text, ...) out[#out + 1] = select("#", ...) > 0 and text:format(...) or text end

-- "least, most" of an option, its choices, and whether it must be given.
local function limits(p)
  local words = {}
  if p.required then words[#words + 1] = "required" end
  if p.choices then words[#words + 1] = (p.choices:gsub(" ", ", ")) end
  if p.min and p.max and not p.choices then words[#words + 1] = ("%g to %g"):format(p.min, p.max) end
  return table.concat(words, "; ")
end

local function add_options(list)
  for _, p in ipairs(list or {}) do
    local bounds = limits(p)
    local doc = (p.doc or ""):gsub("\n", " ")
    add("- `%s` (%s)%s: %s", p.name, tostring(p.type), bounds ~= "" and ", " .. bounds or "", doc)
  end
end

local function add_section(title, list, options_of)
  add("\n## %s\n", title)
  for _, entry in ipairs(list) do
    add("\n### `%s`\n\n%s\n", tostring(entry), (entry.doc or ""))
    add_options(entry[options_of])
  end
end

-- ---- functions of Lua ----

-- What a file returns: its last statement.
local function returned(path)
  local last = ""
  for line in io.lines(path) do last = line:match("^return .*$") or last end
  return last
end

-- The comment lines and the function that they stand above, for each function of a module's table in a file, and for
-- local ones that the file returns.
local function functions_of(path)
  local found, comment, head, gives = {}, {}, nil, returned(path)
  for line in io.lines(path) do
    local text = line:match("^%-%-+ ?(.*)$")
    if text and not text:find("^%-%-%-%- ") then
      comment[#comment + 1] = text
    else
      head = head or (#comment > 0 and table.concat(comment, "\n") or "")
      local name = line:match("^function ([%w_.:]+%(.-%))") or line:match("^local function ([%w_]+%(.-%))")
      if line:find("^local") and not (name and gives:find("%f[%w_]" .. name:match("^[%w_]+") .. "%f[^%w_]")) then
        name = nil
      end
      if name and #comment > 0 then found[#found + 1] = { name = name, doc = table.concat(comment, "\n") } end
      comment = {}
    end
  end
  return found, head or ""
end

local function files_of(folder, list)
  for _, entry in ipairs(assert(core.list_dir(folder))) do
    local path = folder .. "/" .. entry[1]
    if entry[2] == "folder" then files_of(path, list) end
    if entry[2] == "file" and path:find("%.lua$") then list[#list + 1] = path end
  end
  return list
end

local function add_modules()
  local paths = files_of("lua/pelk", {})
  table.sort(paths)
  add("\n## Functions of Lua\n")
  for _, path in ipairs(paths) do
    local found, head = functions_of(path)
    if #found > 0 then
      local name = path:gsub("^lua/", ""):gsub("/init%.lua$", ""):gsub("%.lua$", ""):gsub("/", ".")
      add("\n### %s\n\n%s\n", name, head)
      for _, f in ipairs(found) do add("`%s`\n\n    %s\n", f.name, (f.doc:gsub("\n", "\n    "))) end
    end
  end
end

add("# %s\n", tostring(pelk):match("[^\n]*"))
add_section("Operations: `pelk.ops`", pelk.ops.list(), "parameters")
add_section("Layers: `pelk.nn`", pelk.nn.list(), "options")
add("\n## Models: `pelk.models.create`\n\n%s\n", table.concat(pelk.models.list(), ", "))
add("\n## Recipes: `pelk.recipes`\n\n%s\n", table.concat(pelk.recipes.list(), ", "))
add_modules()

local file = assert(arg[1], "usage: docs.lua FILE")
assert(core.write_file(file, table.concat(out, "\n") .. "\n"))
print(("the reference: %s (%d operations, %d layers)"):format(file, #pelk.ops.list(), #pelk.nn.list()))
