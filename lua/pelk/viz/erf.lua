--- Effective receptive fields as RepLKNet's scripts define them (Ding et al., CVPR 2022, section 4.5; erf/).
local core = require("pelk.core")
local images = require("pelk.viz.images")
local options = require("pelk.options")
local probe = require("pelk.viz.probe")
local progress = require("pelk.progress")

local Erf = {}
Erf.__index = Erf

local SHARES = { 20, 30, 50, 99 }

local rules = { stage = { "integer", nil, 1 }, shares = { "table" } }
for name, rule in pairs(images.rules) do rules[name] = rule end
rules.limit = { "integer", 50, 1 }

--- The gradient map of one picture x {1,H,W,C}: how the sum over channels of the rectified centre of the map that
-- `front` gives depends on each pixel; rectified, and summed over colours: {H,W}.
local function gradient_map(owner, front, x)
  x = x:detach():requires_grad_(true)
  local y <close> = front(x)
  if y:dim() ~= 4 then
    options.raise(("%s: wants a map {N,h,w,C} from the model, got %d dimensions (give stage)"):format(owner, y:dim()))
  end
  local centre = y:narrow(2, y:size(2) // 2 + 1, 1):narrow(3, y:size(3) // 2 + 1, 1)
  core.ops.relu(centre):sum():backward()
  if not x.grad then options.raise(owner .. ": the map does not depend on the picture") end
  local map = core.no_grad(function() return core.ops.relu(x.grad):sum(4):squeeze(1) end)
  return map
end

local function has_nan(map)
  local total = map:sum():item()
  return total ~= total or total == math.huge
end

--- {[20] = ratio, ...} and {[20] = side, ...} of a map: the least centred square that holds more than that share of
-- the logarithmic map. When no square inside the map does, side is false and the ratio 1.
local function areas(map, shares)
  local logarithmic = core.erf_normalize(map)
  local ratios, sides = {}, {}
  for _, percent in ipairs(shares) do
    local side = options.call(core.erf_side, logarithmic, percent / 100)
    sides[percent] = side or false
    ratios[percent] = side and side * side / (map:size(1) * map:size(2)) or 1
  end
  return ratios, sides, logarithmic
end

function Erf:__tostring()
  local lines = { ("effective receptive field of %d pictures, %d x %d"):format(self.n, self.map:size(1),
    self.map:size(2)), " share   side    area" }
  for _, percent in ipairs(self.shares) do
    lines[#lines + 1] = ("%5g %%  %5s  %5.1f %%"):format(percent, self.sides[percent] or "-",
      100 * self.ratios[percent])
  end
  if self.skipped > 0 then lines[#lines + 1] = ("%d pictures skipped: not a number"):format(self.skipped) end
  return table.concat(lines, "\n")
end

--- The logarithmic map with a scale, as PNG.
-- @treturn boolean true, or nil, message
function Erf:save_png(path, given)
  local o = options.read("erf:save_png", given, { colormap = { "string", "viridis" }, scale = { "integer", 0, 0 },
    title = { "string" } })
  local note = {}
  for i, percent in ipairs(self.shares) do note[i] = ("%g%%: %.1f%%"):format(percent, 100 * self.ratios[percent]) end
  return core.write_png(options.call(core.picture_heatmap, self.log_map, { colormap = o.colormap, scale = o.scale,
    min = 0, max = 1 }, o.title or ("ERF, %d pictures"):format(self.n), "area  " .. table.concat(note, "  ")), path)
end

--- The effective receptive field of a model: which pixels move the centre of a feature map. The score is the sum over
-- channels of ReLU of the map at {h/2,w/2} (from 0); its gradient by the picture is rectified, summed over colours and
-- averaged over pictures. The model is in evaluation mode meanwhile and comes back as it was.
-- @tparam Module model an nn.Model, or anything that gives a map {N,h,w,C}
-- @param pictures tensor, list of tensors, data set, loader, folder
-- @tab[opt] given size=n or {h,w}: pictures are resized, not cropped (the papers: 1024); stage=the last; limit=50
-- pictures; mean, std (bytes of three channels: ImageNet's), or transforms; shares={20,30,50,99}; progress=true
-- @treturn table {map {H,W}: the mean, log_map: log10(1 + map) by its maximum, ratios = {[20] = part of the area,
-- ...}, sides, ratios_of_sum (the logarithm taken of the sum over pictures instead: the measure is not free of scale),
-- n, skipped (pictures whose map was not finite)}; prints as a table. nil, message when the folder or a file cannot be
-- read.
return function(model, pictures, given)
  local o = options.read("viz.erf", given, rules)
  options.check_module("viz.erf", model)
  local shares = o.shares or SHARES
  local count, get = images.open("viz.erf", pictures)
  if not count then return nil, get end
  count = math.min(count, o.limit)
  local front = probe.halves("viz.erf", model, o.stage)
  local bar = progress.new("receptive field", count, { quiet = not o.progress })
  local total, n, skipped = nil, 0, 0
  local ok, message = probe.frozen(model, function()
    for i = 1, count do
      local picture, trouble = get(i)
      if picture == false then break end
      if not picture then return nil, trouble end
      local map = gradient_map("viz.erf", front, images.prepare(picture, o))
      if has_nan(map) then
        skipped = skipped + 1
      elseif not total then
        total, n = map, 1
      else
        if total:size(1) ~= map:size(1) or total:size(2) ~= map:size(2) then
          options.raise("viz.erf: pictures of different sizes: give size")
        end
        core.no_grad(function() total = total + map end)
        n = n + 1
      end
      bar:advance(1, "")
    end
    return true
  end)
  bar:finish()
  if not ok then return nil, message end
  if n == 0 then options.raise(("viz.erf: none of %d pictures gave a finite map"):format(count)) end
  local map = core.no_grad(function() return total / n end)
  local ratios, sides, log_map = areas(map, shares)
  return setmetatable({ map = map, log_map = log_map, ratios = ratios, sides = sides, shares = shares, n = n,
    ratios_of_sum = areas(total, shares), skipped = skipped }, Erf)
end
