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

local sheet_rules = {
  captions = { "table" }, columns = { "integer", nil, 1 }, colormap = { "string", "gray" }, scale = { "integer", 1, 0 },
  min = { "number" }, max = { "number" }, symmetric = { "boolean" },
}

-- viz.sheet({t, ...}, path, {captions = {...}, columns = about a square, colormap = "gray", scale = 1, min =, max =,
-- symmetric =}): pictures beside and below each other, each with its caption; tensors as in save_png. true, or nil,
-- message.
function viz.sheet(list, path, given)
  local o = options.read("viz.sheet", given, sheet_rules)
  if type(list) ~= "table" or #list == 0 then options.raise("viz.sheet: wants a list of pictures") end
  local pixels = {}
  for i, t in ipairs(list) do
    pixels[i] = options.call(core.picture, t, { colormap = o.colormap, scale = o.scale, min = o.min, max = o.max,
      symmetric = o.symmetric })
  end
  local columns = o.columns or math.ceil(math.sqrt(#pixels))
  return core.write_png(options.call(core.picture_sheet, pixels, o.captions, columns), path)
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

local kernels = require "pelk.viz.kernels"

-- viz.kernels(model or weights, path, {form = "expanded" | "shared" | "magnitude" | "mask", ...}): learned kernels.
-- viz.position(model or map, path, {...}): position maps. viz.radial(model or weights, path, {...}): weight against
-- eccentricity. See viz/kernels.lua.
viz.kernels, viz.position, viz.radial = kernels.kernels, kernels.position, kernels.radial

-- viz.growth(path, {...}): parameters and multiply-adds against kernel size. viz.time_share(model, x, path): where a
-- network's time goes.
-- See viz/costs.lua.
local costs = require "pelk.viz.costs"
viz.growth, viz.time_share = costs.growth, costs.time_share

-- viz.plot({{x = , y = , title = }, ...}, path, {...}): lines, points, bars; see viz/plot.lua.
viz.plot = require "pelk.viz.plot"

-- viz.show(t, {...}): a picture in the terminal; see viz/show.lua.
viz.show = require "pelk.viz.show"

-- viz.erf(model, pictures, {size =, stage =, limit = 50, ...}): the effective receptive field; see viz/erf.lua.
viz.erf = require "pelk.viz.erf"

-- viz.cam(model, pictures, {method = "cam" | "gradcam" | "pc1", class =, ...}): class activation maps; see viz/cam.lua.
viz.cam = require("pelk.viz.cam").run

-- viz.max_box_acc(maps, boxes, {size = 224}): how well maps locate; see viz/localize.lua.
-- viz.localize(model, root, metadata, {method =, size =, ...}): the same on a folder with boxes.
local localize = require "pelk.viz.localize"
viz.max_box_acc, viz.localize = localize.max_box_acc, localize.run

-- viz.curves(history or path of summary.csv, path, {title =, width = 1200, height = 500}): see viz/curves.lua.
viz.curves = require "pelk.viz.curves"

return show.part("pelk.viz", viz)
