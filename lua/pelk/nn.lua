-- pelk.nn: the layers of the core: nn.Linear(10, 20) or nn.Linear{in_features = 10, out_features = 20}; containers take
-- their children, nn.Sequential(nn.Linear(10, 20), nn.GELU()). Any function becomes a Lambda.

local core = require "pelk.core"
local show = require "pelk.show"

local nn = setmetatable({}, {__index = core.nn})

local class_mt = {__tostring = function(class)
  return show.signature(class.name, {}, class.options)
end}

-- list(pattern?) -> every layer, or those whose name holds the Lua pattern: name, doc, options (type, default, min,
-- max, choices, required), container; prints as the list of signatures.
function nn.list(pattern) return show.matching("nn.list", core.nn.list(), class_mt, pattern) end

return show.part("pelk.nn", nn, core.nn)
