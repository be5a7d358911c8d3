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

local op_mt = {__tostring = function(op)
  return show.signature(op.name, op.inputs, op.parameters) .. (op.differentiable and "" or "  no gradient")
end}

-- list(pattern?) -> every op, or those whose name holds the Lua pattern: name, doc, inputs, parameters (type, default,
-- min, max, choices), differentiable; prints as the list of signatures.
function ops.list(pattern) return show.matching("ops.list", core.ops.list(), op_mt, pattern) end

return show.part("pelk.ops", ops, core.ops)
