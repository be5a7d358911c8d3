-- pelk.ops: the differentiable operations of the core, and the sugar that options alone do not give.

local core = require "pelk.core"
local options_of = require "pelk.options"
local show = require "pelk.show"

local ops = setmetatable({}, {__index = core.ops})

-- peripheral_conv(x, w, {kernel=...}, position?, "valid"|"all"|"off"): the position map and how its taps count may
-- follow the options; options last, with position_mode in them, work too.
function ops.peripheral_conv(x, w, ...)
  local options, rest, n = {}, {}, 0
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if type(v) == "table" then
      for key, value in next, v do options[key] = value end
    elseif type(v) == "string" then
      options.position_mode = v
    else
      n = n + 1
      rest[n] = v
    end
  end
  rest[n + 1] = options
  return options_of.call(core.ops.peripheral_conv, x, w, table.unpack(rest, 1, n + 1))
end

-- One line for an op of list(): "linear(x, w, b?, {stride=1})".
local function signature(op)
  local parts = {}
  for _, input in ipairs(op.inputs) do
    parts[#parts + 1] = input.name .. (input.variadic and "..." or "") .. (input.optional and "?" or "")
  end
  local options = {}
  for _, p in ipairs(op.parameters) do
    local value = p.default
    if type(value) == "string" then value = string.format("%q", value) end
    if type(value) == "table" then value = "{" .. table.concat(value, ",") .. "}" end
    options[#options + 1] = value == nil and p.name .. "=" or p.name .. "=" .. tostring(value)
  end
  if #options > 0 then parts[#parts + 1] = "{" .. table.concat(options, ", ") .. "}" end
  return op.name .. "(" .. table.concat(parts, ", ") .. ")" .. (op.differentiable and "" or "  no gradient")
end

local op_mt = {__tostring = signature}

-- list(pattern?) -> every op, or those whose name holds the Lua pattern: name, doc, inputs, parameters (type, default, min, max, choices), differentiable; prints as the
-- list of signatures.
function ops.list(pattern)
  if pattern ~= nil and type(pattern) ~= "string" then
    error("ops.list: the pattern must be a string, got " .. type(pattern), 2)
  end
  local list = {}
  for _, op in ipairs(core.ops.list()) do
    if not pattern or options_of.call(string.find, op.name, pattern) then list[#list + 1] = setmetatable(op, op_mt) end
  end
  return show.list(list)
end

return show.part("pelk.ops", ops, core.ops)
