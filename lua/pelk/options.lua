-- Option tables: an unknown field is an error that names it and the nearest known one; types are checked by name.
local options = {}

local home = debug.getinfo(1, "S").source:match("^.*[/\\]") or "@"

-- Raise, as an error of the first line outside this library.
function options.raise(message)
  local level = 2
  local info = debug.getinfo(level, "S")
  while info and (info.what == "C" or info.source:sub(1, #home) == home) do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  error(message, info and level or 0)
end

-- Is it a number, and neither NaN nor infinite?
function options.is_finite(v) return math.type(v) ~= nil and v == v and math.abs(v) < math.huge end

-- How many letters to insert, drop or replace to get from a to b.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

-- The word of the list nearest to `word`, or nil when none is near.
function options.nearest(word, list)
  local best, best_distance = nil, math.huge
  for _, known in ipairs(list) do
    local d = distance(word:lower(), known:lower())
    if d < best_distance then best, best_distance = known, d end
  end
  if best and best_distance <= math.max(2, #word // 3) then return best end
end

local function type_of(value)
  local t = math.type(value) or type(value)
  if t == "float" and value == math.floor(value) and math.abs(value) < 2 ^ 53 then return "integer" end
  return t
end

local function matches(value, wanted)
  local given = type_of(value)
  for name in wanted:gmatch("[^|]+") do
    if name == given or (name == "number" and math.type(value)) or name == "any" then return true end
  end
  return false
end

-- What to add to a message about the unknown `word`: ", did you mean 'batch'?", or nothing.
function options.hint(word, list)
  local near = options.nearest(tostring(word), list)
  return near and (", did you mean '" .. near .. "'?") or ""
end

-- What f(...) returns, a function of the core called on behalf of a user: what it raises is said of their line.
function options.call(f, ...)
  local results = table.pack(pcall(f, ...))
  if not results[1] then options.raise(results[2]) end
  return table.unpack(results, 2, results.n)
end

-- A module, and no other userdata or table.
function options.check_module(owner, m)
  if type(m) ~= "userdata" or getmetatable(m) ~= "pelk.Module" then
    local name = type(m) == "userdata" and getmetatable(m)
    name = type(name) == "string" and name or type(m)
    options.raise(("%s: the model must be a pelk.Module, got %s"):format(owner, name))
  end
end

-- options.read("loader", given, {batch = {"integer", 128}, ...}): a new table with defaults filled in; a rule is
-- {type, default, least}, the type "a|b" or "any". Integers that came as floats become integers.
function options.read(owner, given, rules)
  if given == nil then given = {} end
  if type(given) ~= "table" then
    options.raise(("%s: options must be a table, got %s"):format(owner, type(given)))
  end
  local names, out = {}, {}
  for name, rule in pairs(rules) do
    names[#names + 1] = name
    out[name] = rule[2]
  end
  table.sort(names)
  for key, value in pairs(given) do
    local rule = rules[key]
    if not rule then
      options.raise(("%s: unknown option '%s'%s (options: %s)"):format(owner, tostring(key), options.hint(key, names),
        table.concat(names, ", ")))
    end
    if not matches(value, rule[1]) then
      options.raise(("%s: %s must be %s, got %s"):format(owner, key, rule[1]:gsub("|", " or "), type(value)))
    end
    if rule[3] and math.type(value) and (value < rule[3] or value ~= value) then
      options.raise(("%s: %s must be at least %s, got %s"):format(owner, key, rule[3], value))
    end
    if type_of(value) == "integer" and not rule[1]:find("number") then value = math.tointeger(value) end
    out[key] = value
  end
  return out
end

return options
