--- Spaces of parameters: nested tables in which some values vary, and the trials that a search makes of them.
local json = require("pelk.json")
local options = require("pelk.options")

local space = {}

-- ---- what varies ----

local Range = {}
Range.__index = Range

local function show_value(v) return type(v) == "table" and json.encode(v) or tostring(v) end

function Range:__tostring()
  if self.kind ~= "choice" then return ("sweep.%s(%s, %s)"):format(self.kind, self.low, self.high) end
  local parts = {}
  for i, v in ipairs(self.values) do parts[i] = show_value(v) end
  return "sweep.choice{" .. table.concat(parts, ", ") .. "}"
end

local function is_range(v) return getmetatable(v) == Range end

--- One of a list of values: numbers, strings, booleans, lists, tables.
function space.choice(values)
  if type(values) ~= "table" or #values == 0 then options.raise("sweep.choice: wants a list of values") end
  return setmetatable({ kind = "choice", values = values }, Range)
end

local function interval(kind, low, high)
  local may_be_equal = kind == "integer"
  if not (math.type(low) and math.type(high) and (low < high or may_be_equal and low == high) and low > -math.huge
    and high < math.huge) then
    options.raise(("sweep.%s: wants two numbers, the first %s; got %s and %s"):format(kind,
      may_be_equal and "not larger" or "smaller", low, high))
  end
  return setmetatable({ kind = kind, low = low, high = high }, Range)
end

--- A number between low and high.
function space.uniform(low, high) return interval("uniform", low, high) end

--- A number between low and high (both above 0), its logarithm even: learning rates.
function space.log_uniform(low, high)
  local range = interval("log_uniform", low, high)
  if low <= 0 then options.raise(("sweep.log_uniform: low must be above 0, got %s"):format(low)) end
  return range
end

--- A whole number from low to high, both included.
function space.integer(low, high)
  local range = interval("integer", low, high)
  range.low, range.high = math.tointeger(low), math.tointeger(high)
  if not (range.low and range.high) then
    options.raise(("sweep.integer: wants two whole numbers, got %s and %s"):format(low, high))
  end
  return range
end

-- ---- walking ----

--- The dotted names of what varies, sorted: the same order whoever walks, in every process.
local function varying(t, prefix, out)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    local value, name = t[key], prefix .. tostring(key)
    if is_range(value) then
      out[#out + 1] = { name = name, range = value }
    elseif type(value) == "table" then
      varying(value, name .. ".", out)
    end
  end
  return out
end

--- A copy in which every range stands for what pick(range, name, level) gives; level counts choices within choices. A
-- range that it gives back stays.
local function fill(value, pick, name, level)
  if is_range(value) then
    local picked = pick(value, name, level or 0)
    return picked == value and value or fill(picked, pick, name, (level or 0) + 1)
  end
  if type(value) ~= "table" then return value end
  local out = {}
  for key, inner in pairs(value) do
    out[key] = fill(inner, pick, name == "" and tostring(key) or name .. "." .. tostring(key))
  end
  return out
end

local function copy(value) return fill(value, function(range) return range end, "") end

--- The same with whole floats as integers: 1.0 and 1 are one parameter.
local function whole(value)
  if type(value) ~= "table" then return math.type(value) == "float" and math.tointeger(value) or value end
  local out = {}
  for key, inner in pairs(value) do out[key] = whole(inner) end
  return out
end

-- ---- ids ----

--- FNV-1a, 64 bits.
local function fnv1a(text)
  local hash = 0xcbf29ce484222325
  for i = 1, #text do hash = (hash ~ text:byte(i)) * 0x100000001b3 end
  return hash
end

--- The id of a trial: the hash of its parameters' JSON, names sorted, as 16 hexadecimal digits.
function space.id(params)
  local ok, text = pcall(json.encode, whole(params))
  if not ok then options.raise("sweep: parameters must be what JSON can say: " .. text) end
  return ("%016x"):format(fnv1a(text))
end

--- The value at a dotted name.
function space.get(params, name)
  local value = params
  for key in name:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = value[math.tointeger(tonumber(key)) or key]
  end
  return value
end

-- ---- searches ----

local MAX_TRIALS = 100000

--- All values of a range, or an error: a grid needs a list of them.
local function values_of(name, range)
  if range.kind == "choice" then return range.values end
  if range.kind ~= "integer" then
    options.raise(("sweep: a grid cannot take %s (%s): give sweep.choice, or search = \"random\""):format(name,
      tostring(range)))
  end
  local values = {}
  for v = range.low, math.max(range.low, math.min(range.high, range.low + MAX_TRIALS)) do values[#values + 1] = v end
  return values
end

--- Every combination, the last name varying fastest; what a choice puts in may vary in turn.
local function grid(given, out)
  local first = varying(given, "", {})[1]
  if not first then
    if #out == MAX_TRIALS then
      options.raise(("sweep: the grid has more than %d trials; search = \"random\" takes some of them"):format(
        MAX_TRIALS))
    end
    out[#out + 1] = given
    return out
  end
  for _, value in ipairs(values_of(first.name, first.range)) do
    grid(fill(given, function(range, name)
      if name == first.name then return value end
      return range
    end, ""), out)
  end
  return out
end

--- A number in [0, 1) by a text. FNV-1a alone would not do: texts that differ in their last letter, "kernels.1" and
-- "kernels.2", hash to neighbours. The finish of splitmix64 (Steele et al., OOPSLA 2014) spreads them.
local function fraction(text)
  local z = fnv1a(text)
  z = (z ~ (z >> 30)) * 0xbf58476d1ce4e5b9
  z = (z ~ (z >> 27)) * 0x94d049bb133111eb
  return ((z ~ (z >> 31)) >> 11) / 2 ^ 53
end

--- Draw by (seed, trial, name) alone: trial 7 is the same whatever comes before it.
local function draw(seed, index)
  return function(range, name, level)
    local u = fraction(("%d:%d:%s%s"):format(seed, index, name, ("'"):rep(level)))
    if range.kind == "choice" then return range.values[math.floor(u * #range.values) + 1] end
    if range.kind == "integer" then return range.low + math.floor(u * (range.high - range.low + 1)) end
    if range.kind == "uniform" then return range.low + u * (range.high - range.low) end
    return math.exp(math.log(range.low) + u * (math.log(range.high) - math.log(range.low)))
  end
end

local function allowed(constraint, params)
  return constraint == nil or constraint(copy(params)) and true or false
end

local function random(given, o)
  local out, seen, tries = {}, {}, 0
  while #out < o.trials and tries < 100 * o.trials do
    tries = tries + 1
    local params = fill(given, draw(o.seed, tries), "")
    local id = space.id(params)
    if not seen[id] and allowed(o.constraint, params) then
      seen[id] = true
      out[#out + 1] = params
    end
  end
  if #out == 0 then options.raise("sweep: the constraint allows none of the trials drawn") end
  return out
end

--- The constants of the space with the values of one entry of an explicit list laid over it.
local function lay_over(base, top)
  local out = copy(base)
  for key, value in pairs(top) do
    if type(value) == "table" and type(out[key]) == "table" and #value == 0 and #out[key] == 0 then
      out[key] = lay_over(out[key], value)
    else
      out[key] = copy(value)
    end
  end
  return out
end

local function listed(given, list, ranges)
  if #ranges > 0 then
    options.raise(("sweep: search is a list of trials, but the space varies %s too: give constants there"):format(
      ranges[1].name))
  end
  local out = {}
  for i, entry in ipairs(list) do
    if type(entry) ~= "table" then options.raise(("sweep: trial %d of the list is a %s"):format(i, type(entry))) end
    local range = varying(entry, "", {})[1]
    if range then
      options.raise(("sweep: trial %d of the list varies %s: give a value there"):format(i, range.name))
    end
    out[i] = lay_over(given, entry)
  end
  if #out == 0 then options.raise("sweep: the list of trials is empty") end
  return out
end

--- All leaves of nested parameters by dotted names; lists count as one value.
local function leaves(params, prefix, out)
  for key, value in pairs(params) do
    local name = prefix .. tostring(key)
    if type(value) == "table" and #value == 0 and next(value) ~= nil then
      leaves(value, name .. ".", out)
    else
      out[name] = value
    end
  end
  return out
end

--- The names whose values are not the same in all trials, sorted.
function space.columns(trials)
  local first, differ = {}, {}
  for i, trial in ipairs(trials) do
    local now = leaves(trial.params, "", {})
    for name, value in pairs(now) do
      local text = show_value(value)
      if i > 1 and first[name] ~= text then differ[name] = true end
      first[name] = first[name] or text
    end
    for name in pairs(first) do if now[name] == nil then differ[name] = true end end
  end
  local names = {}
  for name in pairs(differ) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- The trials of a sweep in their order.
-- @tab o space, search ("grid", "random" or a list), trials and seed (random), constraint
-- @treturn table {{id=, params=}, ...}, none twice
function space.trials(o)
  local given = o.space or {}
  local ranges = varying(given, "", {})
  local all
  if type(o.search) == "table" then all = listed(given, o.search, ranges)
  elseif o.search == "grid" then all = grid(given, {})
  else all = random(given, o) end
  local out, seen = {}, {}
  for _, params in ipairs(all) do
    local id = space.id(params)
    if not seen[id] and allowed(o.constraint, params) then
      seen[id] = true
      out[#out + 1] = { id = id, params = params }
    end
  end
  if #out == 0 then options.raise("sweep: the constraint allows none of the trials") end
  return out
end

space.show_value = show_value
space.copy = copy

return space
