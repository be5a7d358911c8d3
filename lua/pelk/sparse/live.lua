--- Which weights of a depthwise kernel can meet the image: taps further out than the map is wide see padding only, and
-- never get a gradient.
local core = require("pelk.core")

--- Bands of one axis as lists of first and last tap, counted from the output's own place.
local function bands_of(sizes, at)
  local bands = {}
  for i, size in ipairs(sizes) do
    bands[i] = { at, at + size - 1 }
    at = at + size
  end
  return bands
end

local function taps(count, dilation, at)
  local bands = {}
  for i = 1, count do bands[i] = { at + (i - 1) * dilation, at + (i - 1) * dilation } end
  return bands
end

--- Rows and columns of bands of a layer with stride 1 and padding "same", or nil for another layer.
local function bands(layer)
  local o, class = layer:options(), layer:class()
  if class == "PeripheralConv" then
    local grid = o.grid and #o.grid > 0 and o.grid
      or core.grid(o.kernel, { radius = o.radius, base = o.base, rule = o.rule })
    local k = 0
    for _, size in ipairs(grid) do k = k + size end
    local axis = bands_of(grid, -(k // 2))
    return axis, axis
  end
  local padding = type(o.padding) == "table" and o.padding[1] or o.padding
  if class ~= "DepthwiseConv" or padding ~= "same" then return nil end
  local function pair(v) if type(v) == "table" then return v[1], v[2] or v[1] end return v, v end
  local sy, sx = pair(o.stride or 1)
  if sy ~= 1 or sx ~= 1 then return nil end
  local w = layer.weight
  local dy, dx = pair(o.dilation or 1)
  local kh, kw = w:size(1), w:size(2)
  return taps(kh, dy, -((kh - 1) * dy // 2)), taps(kw, dx, -((kw - 1) * dx // 2))
end

local function reaches(band, extent) return band[1] <= extent - 1 and band[2] >= 1 - extent end

--- live(model, image_size) -> {name of the weight = {map, dead, h, w}} of the depthwise weights that have dead taps:
-- map is uint8 of the weight's shape, dead how many of its rows x columns are so, h and w the feature map's extent.
-- @param image_size n or {h, w}
return function(model, image_size)
  local out = {}
  for _, row in ipairs(model:summary({ image_size = image_size })) do
    local layer = (row.class == "PeripheralConv" or row.class == "DepthwiseConv") and row.shape and model:get(row.path)
    local ys, xs
    if layer then ys, xs = bands(layer) end
    if ys then
      local h, w = row.shape[2], row.shape[3]
      local flat, dead = {}, 0
      for _, y in ipairs(ys) do
        for _, x in ipairs(xs) do
          local live = reaches(y, h) and reaches(x, w)
          flat[#flat + 1] = live and 1 or 0
          dead = dead + (live and 0 or 1)
        end
      end
      if dead > 0 then
        local map = core.tensor(flat, { #ys, #xs, 1 }, { dtype = "uint8" })
        out[row.path == "" and "weight" or row.path .. ".weight"] = { dead = dead, h = h, w = w,
          map = map:expand({ #ys, #xs, layer.weight:size(3) }):contiguous() }
      end
    end
  end
  return out
end
