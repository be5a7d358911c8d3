--- Methods of Module that are written in Lua: files, counts, summaries. Loaded with pelk.
local core = require("pelk.core")

local options = require("pelk.options")
local show = require("pelk.show")

local Module = core.Module

--- Write all parameters and buffers as safetensors (or .npz, by the path's end), under their names, in PyTorch's
-- layouts; the grids of shared kernels are noted in the metadata.
-- @string path written beside and renamed
-- @tab[opt] metadata strings by string
-- @treturn boolean true, or nil, message
Module.save = core.module_save

-- resize = true is the way that changes what the network computes least.
local resize_words = { [true] = "pad", [false] = "off" }

-- The core's options from the user's: resize as a word, the list of opaque classes apart.
local function load_options(owner, given)
  if given == nil then return nil end
  if type(given) ~= "table" then options.raise(owner .. ": options must be a table, got " .. type(given)) end
  local o = {}
  for name, value in pairs(given) do o[name] = value end
  if type(o.resize) == "boolean" then o.resize = resize_words[o.resize] end
  local opaque = o.opaque
  o.opaque = nil
  return o, opaque
end

--- Read weights: written by save, or files of other programs: safetensors, .npz, PyTorch's .pth (nothing in it is
-- executed). Names are pelk's, which are timm's where timm has the model, or those of the authors of ConvNeXt, SLaK,
-- RepLKNet and InceptionNeXt; whose is found out, as is a prefix that all share ("module.", "backbone."). 1x1
-- convolutions fit linear layers. The model is changed only when everything fits; what does not is in one message.
-- @string path
-- @tab[opt] given
--   strict=true       missing and unexpected names are errors; else they are passed over
--   head="keep"       "reset": a classifier of another number of classes is made anew (deviation 0.02 times
--                     head_init_scale, biases 0) instead of an error
--   resize=false      kernels and position maps of another size, and shared kernels of another grid. true or "pad":
--                     centre on centre, new taps 0, so that the network computes what it did (a shared kernel is
--                     expanded, then projected on the new grid: the mean over each rectangle); "scale": stretched with
--                     the image, by linear interpolation, the sum of a kernel kept
--   key               entry of a .pth file, "model_ema" say; without it model, state_dict and the like are looked for
--   prefix, source    only names that begin so; whose names, "convnext" or "slak"
--   opaque            classes beside the weights of a .pth file that are passed over, {"mylib.Config", "mylib.*"}
-- @treturn boolean true and an account of what was passed over or changed ("" when nothing); or nil, message
function Module.load(m, path, given)
  return options.call(core.module_load, m, path, load_options("load", given))
end

--- All parameters and buffers by name, in order, in PyTorch's layouts; views, not copies.
function Module.state_dict(m) return show.tensors(options.call(core.module_state, m)) end

--- Copy values by name from such a table, or from one that pelk.load gave.
-- @tab dict
-- @tab[opt] given strict, head, resize, prefix, source as of load
-- @treturn boolean true and an account of what was passed over or changed
-- @raise for names and shapes that do not fit; the model is unchanged then
function Module.load_state_dict(m, dict, given)
  if type(given) == "table" and (given.key or given.opaque) then
    options.raise("load_state_dict: key and opaque are options of load: they say what a file holds")
  end
  return options.call(core.module_set_state, m, dict, (load_options("load_state_dict", given)))
end

Module.count = require("pelk.cost").count
Module.summary = require("pelk.summary").summary
Module.profile = require("pelk.summary").profile
Module.merge = require("pelk.merge")

local parameters = Module.parameters

--- All parameters, in order: a list of tensors that prints their shapes.
function Module.parameters(m) return show.list(parameters(m)) end

-- What part(x) gives; what it raises begins with the path, as when the whole model runs.
local function run(path, part, x)
  local ok, y = pcall(part, x)
  if not ok then options.raise(path .. (y:find("^%w+[.:] ?%w") and "." or ": ") .. y) end
  return y
end

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
  local y = run("stem", m.stem, x)
  for i = 1, last do
    local before = y
    if i > 1 and m.transitions then -- RepLKNet's stand beside the stages
      y = run("transitions." .. i - 2, m.transitions[i - 1], y)
    end
    y = run("stages." .. i - 1, m.stages[i], y)
    maps[i] = wanted[i] and y or nil
    if not wanted[i - 1] then before:free() end
  end
  local out = {}
  for place, stage in ipairs(stages) do out[place] = maps[math.tointeger(stage)] end
  return show.list(out)
end
