--- Flags of the command line from a list that describes them. "--batch_size 64", "--batch-size=64", "--model_ema" and
-- "--model_ema true" are understood.
-- @module pelk.command.flags

local options = require("pelk.options")

local flags = {}

--- Wrong use of the command: ends with status 2.
flags.Usage = {}
function flags.wrong(text, ...) error(setmetatable({ text = text:format(...) }, flags.Usage), 0) end

local truths = { ["true"] = true, yes = true, on = true, ["1"] = true, ["false"] = false, no = false, off = false,
  ["0"] = false }

local readers = {}
function readers.string(_, text) return text end
function readers.integer(flag, text)
  return math.tointeger(tonumber(text)) or flags.wrong("--%s must be a whole number, got '%s'", flag.name, text)
end
function readers.number(flag, text)
  return tonumber(text) or flags.wrong("--%s must be a number, got '%s'", flag.name, text)
end
function readers.list(flag, text)
  local out = {}
  for word in text:gmatch("[^%s,]+") do out[#out + 1] = readers.number(flag, word) end
  return out
end
function readers.boolean(flag, text)
  local value = truths[text:lower()]
  if value == nil then flags.wrong("--%s must be true or false, got '%s'", flag.name, text) end
  return value
end

local function by_name(list)
  local known, names = {}, {}
  for _, flag in ipairs(list) do
    if flag.name then known[flag.name], names[#names + 1] = flag, flag.name end
    for other in (flag.also or ""):gmatch("%S+") do known[other] = flag end
  end
  return known, names
end

--- The name and, after "=", the value of a word that is a flag: --name, --name=value, -n.
local function split(word)
  local name, text = word:match("^%-%-([%w_%-]+)=(.*)$")
  return name or word:match("^%-%-([%w_%-]+)$") or word:match("^%-(%a)$"), text
end

--- The values that follow a flag: one, or for lists all up to the next flag.
local function take(flag, words, at)
  local following = words[at + 1]
  if flag.type == "boolean" then
    if following and truths[following:lower()] ~= nil then return following, at + 1 end
    return "true", at
  end
  if not following then flags.wrong("--%s wants a value", flag.name) end
  if flag.type ~= "list" then return following, at + 1 end
  local parts = {}
  while words[at + 1] and tonumber((words[at + 1]:gsub(",", ""))) do
    at = at + 1
    parts[#parts + 1] = words[at]
  end
  if #parts == 0 then flags.wrong("--%s wants numbers", flag.name) end
  return table.concat(parts, " "), at
end

--- Read words.
-- @tab list {name=, type="string"|"integer"|"number"|"boolean"|"list", default=, help=, choices=, also=}, or {title=};
--   also: other names of it, a letter is given with one dash; refused= instead of a type: why there is no such flag
-- @treturn table values by name, defaults filled in
-- @treturn table which were given
-- @treturn table words that are no flags
function flags.read(list, words)
  local known, names = by_name(list)
  local values, given, rest = {}, {}, {}
  for _, flag in pairs(known) do values[flag.name] = flag.default end
  local at = 1
  while at <= #words do
    local name, text = split(words[at])
    if not name then
      if words[at]:find("^%-%a") then flags.wrong("unknown flag '%s': flags begin with --", words[at]) end
      rest[#rest + 1] = words[at]
    else
      name = name:gsub("-", "_")
      local flag = known[name] or flags.wrong("unknown flag '%s'%s", words[at], options.hint(name, names))
      if not text then text, at = take(flag, words, at) end
      if flag.refused and truths[text:lower()] ~= false then flags.wrong("--%s: %s", name, flag.refused) end
      values[flag.name], given[flag.name] = readers[flag.type](flag, text), true
      if flag.choices and not (" " .. flag.choices .. " "):find(" " .. text .. " ", 1, true) then
        flags.wrong("--%s must be one of %s, got '%s'", name, flag.choices, text)
      end
    end
    at = at + 1
  end
  return values, given, rest
end

--- A flag's name as it is given.
function flags.dashed(name) return (#name == 1 and "-" or "--") .. name end

local function shown(value)
  if type(value) == "table" then return table.concat(value, " ") end
  return tostring(value)
end

--- What --help says of the flags.
function flags.describe(list)
  local lines = {}
  for _, flag in ipairs(list) do
    if flag.title then
      lines[#lines + 1] = "\n" .. flag.title .. ":"
    elseif not flag.refused then
      local default = flag.default ~= nil and (" [%s]"):format(shown(flag.default)) or ""
      local choices = flag.choices and (" (%s)"):format(flag.choices:gsub(" ", ", ")) or ""
      local also = flag.also and (", or %s"):format((flag.also:gsub("%S+", flags.dashed):gsub(" ", ", "))) or ""
      lines[#lines + 1] = ("  --%-24s %s%s%s%s"):format(flag.name, flag.help, choices, default, also)
    end
  end
  return table.concat(lines, "\n")
end

return flags
