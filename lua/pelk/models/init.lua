--- Models by name. A preset is a table of options of nn.Model; each architecture is a file of them in this folder.
-- @module pelk.models

local core = require("pelk.core")
local cost = require("pelk.cost")
local grids = require("pelk.grids")
local options = require("pelk.options")
local show = require("pelk.show")

local architectures = { "convnext", "inception_next", "pelk", "replknet", "slak" }

local presets = {}
for _, file in ipairs(architectures) do
  for name, spec in pairs(require("pelk.models." .. file)) do presets[name] = spec end
end

local models = {}

local function copy(value)
  if type(value) ~= "table" then return value end
  local t = {}
  for k, v in pairs(value) do t[k] = copy(v) end
  return t
end

--- Names of the presets, sorted.
-- @string[opt] pattern a Lua pattern that the names must hold, "^pelk" say
-- @treturn table list of names, prints one a line
-- @raise for what is no pattern
function models.list(pattern)
  if pattern ~= nil and type(pattern) ~= "string" then
    error("models.list: the pattern must be a string, got " .. type(pattern), 2)
  end
  local names = {}
  for name in pairs(presets) do
    if not pattern or options.call(string.find, name, pattern) then names[#names + 1] = name end
  end
  table.sort(names)
  return show.list(names)
end

--- The options of a preset, to edit and give to create.
-- @string name one of list()
-- @treturn table a copy of its own
-- @raise for an unknown name, with the nearest known one
function models.spec(name)
  if type(name) ~= "string" then error("models.spec: expected a name, got " .. type(name), 2) end
  if not presets[name] then
    error(("no model is called '%s'%s models.list() names all"):format(name,
      options.nearest(name, models.list()) and options.hint(name, models.list()) or ";"), 2)
  end
  return show.record(copy(presets[name]))
end

--- Make a model.
-- @param model a preset's name, or a table of options of nn.Model
-- @tab[opt] overrides options that replace the preset's: num_classes, in_channels, depths, dims, width, block, mixer,
-- kernels, radius, base, rule, grid, position, position_shape, small_kernel, partial, mlp_ratio, dw_ratio, drop_path,
-- layer_scale, stem, reparam, conv_mlp, recompute, norm, head, head_init_scale, init. width, mixer, kernels, radius,
-- base, rule, grid, small_kernel, partial and mlp_ratio are one value, or a list of one a stage; grids may be names in
-- pelk.grids.
-- And merged: true,
-- or the options of m:merge(), for a model to load merged weights into
-- @treturn Module with fresh weights (pelk.manual_seed decides them)
-- @raise for options that do not exist or do not fit
-- @usage local m = pelk.models.create("pelk_tiny", { num_classes = 10, kernels = { 31, 29, 27, 13 } })
function models.create(model, overrides)
  local spec
  if type(model) == "table" then
    spec = copy(model)
  elseif type(model) == "string" then
    spec = models.spec(model)
  else
    error("models.create: expected a name or a table of options, got " .. type(model), 2)
  end
  if overrides ~= nil and type(overrides) ~= "table" then
    error("models.create: overrides must be a table, got " .. type(overrides), 2)
  end
  for k, v in pairs(overrides or {}) do spec[k] = copy(v) end
  spec.grid = grids.grid(spec.grid)
  local merged = spec.merged
  spec.merged = nil
  local ok, made = pcall(core.nn.Model, spec)
  if not ok then error(made, 2) end
  if merged then made:merge(type(merged) == "table" and merged or nil) end
  return made
end

--- What a model would cost, without making its weights: nothing is drawn, a moment for the largest.
-- @param model, overrides as for create
-- @tab[opt] given as for m:count, density=1
-- @treturn table as m:count gives it
-- @raise as create and m:count
-- @usage print(pelk.models.count("pelk_base_101", nil, { image_size = 384, density = 0.6 }))
function models.count(model, overrides, given)
  local made <close> = options.call(core.blank, models.create, model, overrides)
  if given ~= nil and type(given) ~= "table" then
    options.raise("models.count: options must be a table, got " .. type(given))
  end
  local o = copy(given or {})
  o.density = o.density or 1
  return cost.count(made, o)
end

return show.part("pelk.models", models)
