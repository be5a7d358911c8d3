-- Pictures of learned kernels: expanded, in their shared form, as magnitudes, as masks; position maps; how weight falls
-- with eccentricity.
local core = require "pelk.core"
local options = require "pelk.options"
local plot = require "pelk.viz.plot"

local kernels = {}

-- ---- where the weights come from ----

local function is_tensor(t) return type(t) == "userdata" and getmetatable(t) == "pelk.Tensor" end

-- The layer of that name (the first without one) among those that `fits` takes.
local function find_layer(owner, model, wanted, what, fits)
  options.check_module(owner, model)
  local names = {}
  for name, layer in model:modules() do
    if fits(layer) then
      if wanted == nil or name == wanted then return layer, name end
      names[#names + 1] = name
    end
  end
  if #names == 0 then options.raise(("%s: the model has no %s"):format(owner, what)) end
  options.raise(("%s: no %s '%s'; there are %d, for instance %s"):format(owner, what, wanted, #names,
    options.nearest(wanted, names) or names[1]))
end

local function has_kernel(layer)
  local class = layer:class()
  return class == "PeripheralConv" or class == "DepthwiseConv"
end

-- The grid of a peripheral layer, or of options; nil for dense kernels.
local function grid_of(o)
  if o.grid and #o.grid > 0 then
    if type(o.grid[1]) == "table" then return o.grid[1] end
    return o.grid
  end
  if o.kernel then return options.call(core.grid, o.kernel, { radius = o.radius, base = o.base, rule = o.rule }) end
end

-- Weights {k',k',C} as they are learned, and their grid (nil: they are dense).
local function weights_of(owner, what, o)
  if is_tensor(what) then
    if what:dim() == 2 then what = what:unsqueeze(3) end
    if what:dim() ~= 3 then
      options.raise(owner .. ": wants weights {k,k,C}, got " .. tostring(what):match("[^\n]*$"))
    end
    return what:detach(), grid_of(o)
  end
  local layer = find_layer(owner, what, o.layer, "peripheral or depthwise convolution", has_kernel)
  local w = layer.weight:detach()
  if layer:class() ~= "PeripheralConv" then return w, nil end
  local own = layer:options()
  return w, grid_of { grid = own.grid, kernel = own.kernel, radius = own.radius, base = own.base, rule = own.rule }
end

local function expand(w, grid) return grid and options.call(core.ops.expand_kernel, w, { grid = grid }) or w end

local source_rules = {
  layer = { "string" }, grid = { "table" }, kernel = { "integer", nil, 1 }, radius = { "integer", 2, 0 },
  base = { "integer", 2, 1 }, rule = { "string", "truncate" },
}

local function rules_with(more)
  for name, rule in pairs(source_rules) do more[name] = more[name] or rule end
  return more
end

-- ---- tiles and magnitudes ----

local forms = {}

function forms.expanded(w, grid) return expand(w, grid) end
function forms.shared(w) return w end
function forms.mask(w, grid) return expand(w:abs():gt(0), grid) end
function forms.magnitude(w, grid) return expand(w:abs():mean(3):unsqueeze(3), grid) end

local kernel_rules = rules_with {
  form = { "string", "expanded" }, channels = { "integer", 64, 1 }, colormap = { "string" },
  scale = { "integer", 0, 0 }, columns = { "integer", 0, 0 }, title = { "string" },
}

local function picture_of(form, w, o)
  if form == "magnitude" then
    return core.picture_heatmap(w, { colormap = o.colormap or "viridis", scale = o.scale, min = 0 }, o.title)
  end
  if w:size(3) > o.channels then w = w:narrow(3, 1, o.channels) end
  if form == "mask" then
    return core.picture_tiles(w, { colormap = o.colormap or "gray", scale = o.scale, columns = o.columns, min = 0,
      max = 1, symmetric = false })
  end
  return core.picture_tiles(w, { colormap = o.colormap or "coolwarm", scale = o.scale, columns = o.columns,
    symmetric = true })
end

--- Learned kernels as PNG. form: "expanded", a tile a channel, each with its own range around 0; "shared", the same
-- without expanding; "mask", what is not zero; "magnitude", the mean of absolute values over channels, with a scale.
-- @param what a model, or weights {k,k,C}: these are expanded with grid, or kernel, radius, base, rule
-- @string path
-- @tab[opt] given form; layer = "stages.0.blocks.0.conv_dw.large.conv", the first without it; channels=64; colormap,
-- scale (pixels a tap), columns, title
-- @treturn boolean true, or nil, message
function kernels.kernels(what, path, given)
  local o = options.read("viz.kernels", given, kernel_rules)
  if not forms[o.form] then
    options.raise(("viz.kernels: form must be expanded, shared, magnitude or mask, got '%s'"):format(o.form))
  end
  local w, grid = weights_of("viz.kernels", what, o)
  return core.write_png(options.call(core.no_grad, function() return picture_of(o.form, forms[o.form](w, grid), o) end),
    path)
end

local position_rules = { layer = { "string" }, channels = { "integer", 64, 1 }, scale = { "integer", 0, 0 },
  columns = { "integer", 0, 0 }, title = { "string" } }

--- A position embedding as PNG: one map {k,k} with its scale, or a tile a channel of {k,k,C}.
-- @param what a model (its first position map, or that of layer = "stages.1"), or the map itself
-- @treturn boolean true, or nil, message
function kernels.position(what, path, given)
  local o = options.read("viz.position", given, position_rules)
  local t = what
  if not is_tensor(what) then
    options.check_module("viz.position", what)
    local names = {}
    t = nil
    for name, parameter in what:named_parameters() do
      local owner = name:match("^(.*)%.?position$")
      if owner then
        owner = owner:gsub("%.$", "")
        names[#names + 1] = owner
        if not t and (o.layer == nil or o.layer == owner) then t = parameter end
      end
    end
    if not t then
      options.raise(#names == 0 and "viz.position: the model has no position map"
        or ("viz.position: no position map in '%s'; there are %s"):format(o.layer, table.concat(names, ", ")))
    end
  end
  t = t:detach()
  local pixels
  if t:dim() == 2 then
    pixels = options.call(core.picture_heatmap, t, { colormap = "coolwarm", scale = o.scale, symmetric = true },
      o.title)
  else
    if t:dim() == 3 and t:size(3) > o.channels then t = t:narrow(3, 1, o.channels) end
    pixels = options.call(core.picture_tiles, t, { scale = o.scale, columns = o.columns })
  end
  return core.write_png(pixels, path)
end

-- ---- eccentricity ----

-- Where human acuity has fallen to half, in degrees (Geisler and Perry, "Real-time foveated multiresolution system for
-- low-bandwidth video communication", SPIE 3299, 1998, equation 3 and its constants): the finest frequency that is seen
-- at e degrees is E2 / (E2 + e) of that in the centre.
local E2 = 2.3

--- Human acuity at an eccentricity in degrees, 1 in the centre: E2 / (E2 + e), E2 = 2.3 (Geisler and Perry 1998).
function kernels.acuity(degrees) return E2 / (E2 + degrees) end

local Radial = {}
Radial.__index = Radial

function Radial:__tostring()
  local lines = { "taps from the centre   mean |w|   acuity" }
  for i, r in ipairs(self.eccentricity) do
    lines[#lines + 1] = ("%20d   %8.4g   %6.3f"):format(r, self.magnitude[i], self.acuity[i])
  end
  lines[#lines + 1] = ("fine centre: %.2f %% of the area, %.1f %% of the weights"):format(100 * self.fine_area,
    100 * self.fine_weights)
  return table.concat(lines, "\n")
end

-- Means of |w| over channels and over the taps of each rounded distance.
local function profile_of(w)
  local k, sums, counts = w:size(1), {}, {}
  local flat, c = w:abs():mean(3):tolist(), (w:size(1) - 1) / 2
  for y = 1, k do
    for x = 1, k do
      local r = math.floor(math.sqrt((y - 1 - c) ^ 2 + (x - 1 - c) ^ 2) + 0.5)
      if r <= c then
        sums[r] = (sums[r] or 0) + flat[y][x]
        counts[r] = (counts[r] or 0) + 1
      end
    end
  end
  local eccentricity, magnitude = {}, {}
  for r = 0, math.floor(c) do
    if counts[r] then
      eccentricity[#eccentricity + 1] = r
      magnitude[#magnitude + 1] = sums[r] / counts[r]
    end
  end
  return eccentricity, magnitude
end

-- The part of the taps, and of the weights, in the fine centre: the bands of one tap about the middle one. A ring
-- further out that is cut to one tap is not part of it.
local function fine_share(grid, k)
  if not grid then return 1, 1 end
  local middle = #grid // 2 + 1
  local radius = 0
  while middle + radius < #grid and grid[middle + radius + 1] == 1 and grid[middle - radius - 1] == 1 do
    radius = radius + 1
  end
  local fine = grid[middle] == 1 and 2 * radius + 1 or 0
  return fine * fine / (k * k), fine * fine / (#grid * #grid)
end

local radial_rules = rules_with { degrees = { "number", 30, 0.1 }, title = { "string" } }

--- How the weight of a kernel falls with the distance from its centre, beside human acuity.
-- @param what a model, or weights {k,k,C}, as in viz.kernels
-- @string[opt] path of a chart: magnitudes by their largest, and acuity with the kernel's edge at `degrees`
-- @tab[opt] given layer, grid, kernel, radius, base, rule; degrees=30 of eccentricity at the kernel's edge (a choice: a
-- kernel has taps, not degrees); title
-- @treturn table {eccentricity (taps), magnitude (mean |w| over channels and taps at that distance, expanded), acuity,
-- fine_area, fine_weights (parts of the area, which is taps, and of the weights in the fine centre: Table 6 of PeLK)};
-- prints. nil, message when the chart fails.
function kernels.radial(what, path, given)
  local o = options.read("viz.radial", given, radial_rules)
  local w, grid = weights_of("viz.radial", what, o)
  w = core.no_grad(expand, w, grid)
  if w:size(1) ~= w:size(2) then options.raise("viz.radial: wants a square kernel") end
  local result = setmetatable({ acuity = {} }, Radial)
  result.eccentricity, result.magnitude = profile_of(w)
  result.fine_area, result.fine_weights = fine_share(grid, w:size(1))
  local edge, most, relative = math.max(1, (w:size(1) - 1) / 2), 0, {}
  for i, r in ipairs(result.eccentricity) do
    result.acuity[i] = kernels.acuity(r / edge * o.degrees)
    most = math.max(most, result.magnitude[i])
  end
  for i, m in ipairs(result.magnitude) do relative[i] = most > 0 and m / most or 0 end
  if not path then return result end
  local ok, message = plot({ { x = result.eccentricity, y = relative, title = "mean |w|" },
    { x = result.eccentricity, y = result.acuity, title = ("human acuity, edge at %g degrees"):format(o.degrees),
      style = "lines" } }, path, { xlabel = "distance from the centre, taps", ylabel = "by the largest",
    title = o.title, key = "top right" })
  if not ok then return nil, message end
  return result
end

return kernels
