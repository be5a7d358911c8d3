--- Pictures of the kernels that the best trials learned, from the weights in their runs' folders.
-- @module pelk.sweep.report.kernels
local core = require("pelk.core")
local html = require("pelk.sweep.report.html")

local pictures = {}

local LEAST = 5 -- kernels with fewer taps a side are not worth a picture
local LAYERS = 4
local TILES = 16

--- The weights of a trial's run, and what the file says of them; nil where there are none that can be read.
local function weights_of(row)
  if not row.folder then return nil end
  for _, name in ipairs { "best", "best_ema", "last", "last_ema" } do
    local path = ("%s/run/%s.safetensors"):format(row.folder, name)
    if core.file_stat(path) then
      local tensors, about = core.load_tensors(path)
      if tensors then return tensors, about or {} end
    end
  end
end

local function grid_of(about, name)
  local text = about["pelk.grid." .. name]
  if not text then return nil end
  local grid = {}
  for width in text:gmatch("%d+") do grid[#grid + 1] = math.tointeger(width) end
  return grid
end

local function taps(grid, h, w)
  if not grid then return h, w end
  local sum = 0
  for _, width in ipairs(grid) do sum = sum + width end
  return sum, sum
end

--- Depthwise kernels {C,1,h,w} by stage: the first of the largest of each.
local function layers_of(tensors, about)
  local by_stage, stages = {}, {}
  for name, t in pairs(tensors) do
    local shape = t:shape()
    if #shape == 4 and shape[2] == 1 and shape[1] > 1 and name:find("weight$") then
      local grid = grid_of(about, name)
      local h, w = taps(grid, shape[3], shape[4])
      local stage = name:match("^stages%.(%d+)") or name
      local had = by_stage[stage]
      local larger = not had or h * w > had.h * had.w or h * w == had.h * had.w and name < had.name
      if math.max(h, w) >= LEAST and larger then
        if not had then stages[#stages + 1] = stage end
        by_stage[stage] = { name = name, weights = t, grid = grid, h = h, w = w }
      end
    end
  end
  table.sort(stages, function(a, b)
    local x, y = tonumber(a), tonumber(b)
    if x and y then return x < y end
    return a < b
  end)
  local list = {}
  for i = 1, math.min(LAYERS, #stages) do list[i] = by_stage[stages[i]] end
  return list
end

--- A picture as a data URI, or nil, message.
local function data_uri(weights, o)
  local path = os.tmpname()
  local ok, message = require("pelk.viz.kernels").kernels(weights, path, o)
  local file = ok and io.open(path, "rb")
  local bytes = file and file:read("a")
  if file then file:close() end
  os.remove(path)
  if not bytes then return nil, message or "cannot be read again" end
  return "data:image/png;base64," .. html.base64(bytes)
end

local function image(layer, form)
  local w = layer.weights:permute(3, 4, 1, 2):squeeze(4):contiguous()
  local o = { form = form, grid = layer.grid, channels = TILES, columns = 4 }
  if form == "magnitude" then o.scale = math.max(1, math.floor(180 / math.max(layer.h, layer.w)))
  else o.scale = math.max(1, math.floor(60 / math.max(layer.h, layer.w))) end
  local uri = data_uri(w, o)
  if not uri then return nil end
  local what = form == "magnitude" and "mean |w| over channels"
    or ("channels 1 to %d"):format(math.min(TILES, w:size(3)))
  local shared = layer.grid and (", %dx%d weights"):format(w:size(1), w:size(2)) or ""
  local size = ("%dx%d%s"):format(layer.h, layer.w, shared)
  return html.tag("figure", nil, html.tag("img", { src = uri,
    alt = ("Kernels of %s, %s: %s"):format(layer.name, size, what) }) .. html.tag("figcaption", nil,
    html.tag("code", nil, html.escape((layer.name:gsub("%.weight$", ""))))
    .. html.escape((" %s; %s"):format(size, what))))
end

--- Figures of a trial: every stage's magnitudes, and the channels of the first.
local function figures_of(row)
  local tensors, about = weights_of(row)
  if not tensors then return nil end
  local parts = {}
  for n, layer in ipairs(layers_of(tensors, about)) do
    parts[#parts + 1] = image(layer, "magnitude")
    if n == 1 then parts[#parts + 1] = image(layer, "expanded") end
  end
  return #parts > 0 and table.concat(parts) or nil
end

--- The section: the best `most` trials that have weights; nil where there are none.
function pictures.section(d, most)
  local parts, n = {}, 0
  for _, row in ipairs(d.rows) do
    if n == most then break end
    local figures = row.value and figures_of(row)
    if figures then
      n = n + 1
      parts[#parts + 1] = html.tag("h3", nil, ("<a href=\"#trial-%d\">#%d</a> %s: %s"):format(row.rank, row.rank,
        html.escape(row.name), d.format(row.value))) .. html.tag("div", { class = "kernels" }, figures)
    end
  end
  if n == 0 then return nil end
  return html.tag("p", nil, "As learned, shared kernels expanded. Of each stage the first of its largest depthwise "
    .. "kernels.") .. table.concat(parts)
end

return pictures
