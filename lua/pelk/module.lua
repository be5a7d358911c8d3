--- Methods of Module that are written in Lua: files and summaries. Loaded with pelk.
local core = require("pelk.core")

local options = require("pelk.options")
local show = require("pelk.show")

local Module = core.Module

--- Write all parameters and buffers as safetensors, under their names, in PyTorch's layouts.
-- @string path written beside and renamed
-- @tab[opt] metadata strings by string
-- @treturn boolean true, or nil, message
Module.save = core.module_save

--- Read weights written by save, or by PyTorch's safetensors under the same names.
-- @string path
-- @tab[opt] options strict=true: missing and unexpected names are errors
-- @treturn boolean true, or nil, message (the model is unchanged then)
Module.load = core.module_load

--- All parameters and buffers by name, in order, in PyTorch's layouts; views, not copies.
function Module.state_dict(m) return show.record(core.module_state(m)) end

--- Copy values by name from such a table.
-- @tab dict
-- @tab[opt] options strict=true
-- @raise for names and shapes that do not fit; the model is unchanged then
Module.load_state_dict = core.module_set_state

Module.summary = require("pelk.summary")
Module.merge = require("pelk.merge")

local parameters = Module.parameters

--- All parameters, in order: a list of tensors that prints their shapes.
function Module.parameters(m) return show.list(parameters(m)) end

--- Feature maps of a model: what its stages give, for heads of one's own.
-- @tparam Module m an nn.Model
-- @tparam Tensor x images {N,H,W,C}
-- @tab[opt] stages numbers of stages, {1,2,3,4}; all without it
-- @treturn table the maps {N,H',W',C'} in the order of the numbers
-- @raise for other modules and for stages that are not there
function Module.features(m, x, stages)
  options.check_module("features", m)
  if m:class() ~= "Model" then options.raise(("features: wants an nn.Model, got a %s"):format(m:class())) end
  local n, last, wanted, maps = #m.stages, 0, {}, {}
  if stages == nil then
    stages = {}
    for i = 1, n do stages[i] = i end
  end
  if type(stages) ~= "table" then options.raise("features: stages must be a list, got " .. type(stages)) end
  for _, i in ipairs(stages) do
    local stage = math.tointeger(i)
    if not stage or stage < 1 or stage > n then
      options.raise(("features: stage %s is not in 1..%d"):format(tostring(i), n))
    end
    last, wanted[stage] = math.max(last, stage), true
  end
  local y = options.call(m.stem, x)
  for i = 1, last do
    local before = y
    y = m.stages[i](y)
    maps[i] = wanted[i] and y or nil
    if not wanted[i - 1] then before:free() end
  end
  local out = {}
  for place, stage in ipairs(stages) do out[place] = maps[math.tointeger(stage)] end
  return show.list(out)
end
