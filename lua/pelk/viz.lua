-- Pictures: tensors, sharing grids, learned kernels, learning curves. Numbers become pixels in the core; curves are
-- drawn by gnuplot where it is installed.
local core = require "pelk.core"
local options = require "pelk.options"
local show = require "pelk.show"

local viz = {}

-- viz.save_png(t, path, {colormap = "gray", scale = 1, min =, max =}): {H,W}, {H,W,1} or {H,W,3}; float32 with its own
-- range (around 0 for coolwarm), uint8 as it is. true, or nil, message.
function viz.save_png(t, path, given)
  if type(given) == "table" and given.colormap == "coolwarm" and given.symmetric == nil then
    local more = { symmetric = true }
    for key, value in pairs(given) do more[key] = value end
    given = more
  end
  return core.write_png(core.picture(t, given), path)
end

local heatmap_rules = {
  colormap = { "string", "magma" }, scale = { "integer", 0, 0 }, min = { "number" }, max = { "number" },
  symmetric = { "boolean" }, title = { "string" }, note = { "string" },
}

-- viz.heatmap(t, path, {colormap = "magma", scale = 0, min =, max =, symmetric =, title =, note =}): a map {H,W} with a
-- bar that says what its colours mean, a title above and a note below. true, or nil, message.
function viz.heatmap(t, path, given)
  local o = options.read("viz.heatmap", given, heatmap_rules)
  return core.write_png(options.call(core.picture_heatmap, t, { colormap = o.colormap, scale = o.scale, min = o.min,
    max = o.max, symmetric = o.symmetric }, o.title, o.note), path)
end

-- ---- sharing grids ----

local function is_grid(t) return type(t) == "table" and math.type(t[1]) ~= nil end

-- Kernel sizes and lists of widths to lists of widths.
local function to_grid(k, o)
  if is_grid(k) then return k end
  if not math.tointeger(k) then error("viz.grid: wants a kernel size, a grid, or a list of grids", 3) end
  return core.grid(math.tointeger(k), { radius = o.radius, base = o.base, rule = o.rule })
end

local grid_rules = {
  radius = { "integer", 2, 0 }, base = { "integer", 2, 1 }, rule = { "string", "truncate" },
  side = { "integer", 512, 16 }, captions = { "table" },
}

-- viz.grid(what, path, {radius = 2, base = 2, rule = "truncate", side = 512, captions = {...}}): the picture of a
-- sharing grid. what: a kernel size (51), a grid (list of widths), or a list of grids ({pelk.grid(13), pelk.grid(51)}).
function viz.grid(what, path, given)
  local o = options.read("viz.grid", given, grid_rules)
  local grids = {}
  if type(what) == "table" and not is_grid(what) then
    for i, k in ipairs(what) do grids[i] = to_grid(k, o) end
  else
    grids[1] = to_grid(what, o)
  end
  return core.write_png(core.picture_grids(grids, o.captions, o.side), path)
end

-- ---- kernels ----

-- The layers of a model whose kernels can be shown, by name, in order.
local function kernel_layers(model)
  local layers = {}
  for name, layer in model:modules() do
    local class = layer:class()
    if class == "PeripheralConv" or class == "DepthwiseConv" then layers[#layers + 1] = { name, layer } end
  end
  return layers
end

local function find_layer(model, wanted)
  local layers = kernel_layers(model)
  local names = {}
  for i, entry in ipairs(layers) do
    if entry[1] == wanted or wanted == nil then return entry[2] end
    names[i] = entry[1]
  end
  if #layers == 0 then error("viz.kernels: the model has no peripheral or depthwise convolution", 3) end
  local near = options.nearest(wanted, names)
  error(("viz.kernels: no peripheral or depthwise convolution '%s'; there are %d, for instance %s"):format(wanted,
    #names, near or names[1]), 3)
end

-- Weights {k',k',C} to {k,k,C}, by the layer's own grid.
local function expanded(layer)
  local w = layer.weight:detach()
  if layer:class() ~= "PeripheralConv" then return w end
  local o = layer:options()
  local how = o.grid and #o.grid > 0 and { grid = o.grid }
    or { kernel = o.kernel, radius = o.radius, base = o.base, rule = o.rule }
  return core.ops.expand_kernel(w, how)
end

local kernel_rules = {
  layer = { "string" }, grid = { "table" }, kernel = { "integer", nil, 1 }, radius = { "integer", 2, 0 },
  base = { "integer", 2, 1 }, rule = { "string", "truncate" }, channels = { "integer", 64, 1 },
  colormap = { "string", "coolwarm" }, scale = { "integer", 0, 0 }, columns = { "integer", 0, 0 },
}

-- viz.kernels(model or weights, path, {layer = "stages.0.blocks.0.conv_dw.large.conv", channels = 64, ...}): learned
-- kernels, expanded, a tile a channel, each with its own range around 0. Without layer the first one is shown. Weights
-- {k',k',C} are expanded with grid, or kernel, radius, base, rule; without these they are shown as they are.
function viz.kernels(what, path, given)
  local o = options.read("viz.kernels", given, kernel_rules)
  local w
  if pcall(function() return what:dtype() end) then
    w = what:detach()
    if o.grid then
      w = core.ops.expand_kernel(w, { grid = o.grid })
    elseif o.kernel then
      w = core.ops.expand_kernel(w, { kernel = o.kernel, radius = o.radius, base = o.base, rule = o.rule })
    end
  else
    w = core.no_grad(expanded, find_layer(what, o.layer))
  end
  if w:size(3) > o.channels then w = w:narrow(3, 1, o.channels) end
  return core.write_png(core.picture_tiles(w, { colormap = o.colormap, scale = o.scale, columns = o.columns,
    symmetric = true }), path)
end

-- viz.erf(model, pictures, {size =, stage =, limit = 50, ...}): the effective receptive field; see viz/erf.lua.
viz.erf = require "pelk.viz.erf"

-- viz.cam(model, pictures, {method = "cam" | "gradcam" | "pc1", class =, ...}): class activation maps; see viz/cam.lua.
viz.cam = require("pelk.viz.cam").run

-- viz.max_box_acc(maps, boxes, {size = 224}): how well maps locate; see viz/localize.lua.
viz.max_box_acc = require("pelk.viz.localize").max_box_acc

-- viz.curves(history or path of summary.csv, path, {title =, width = 1200, height = 500}): see viz/curves.lua.
viz.curves = require "pelk.viz.curves"

return show.part("pelk.viz", viz)
