--- Class activation maps: CAM (Zhou et al., CVPR 2016), Grad-CAM (Selvaraju et al., ICCV 2017) and the PC1 method of
-- "CAM Back Again" (Yasuki and Taki, CVPR 2024), which is how that paper looks at large kernels.
local core = require("pelk.core")
local images = require("pelk.viz.images")
local options = require("pelk.options")
local probe = require("pelk.viz.probe")
local progress = require("pelk.progress")
local show = require("pelk.show")

local Cam = {}
Cam.__index = Cam

-- ---- the methods: feature map {h,w,C} and weights {C} to a map {h,w} ----

--- Divided by its maximum; as it is when that is not above 0.
local function by_maximum(map)
  local most = map:max():item()
  return most > 0 and map / most or map
end

local methods = {}

--- The mean over channels of w F, rectified, by its maximum.
function methods.cam(features, weights) return by_maximum(core.ops.relu((features * weights):mean(3))) end

--- As CAM; its weights are the mean gradients of the class's logit.
methods.gradcam = methods.cam

--- The first principal component of the weighted maps, each brought to 0..1: channels are the samples, pixels the
-- features. By its maximum, and turned round when most of the border is foreground.
function methods.pc1(features, weights, border)
  local h, w, c = features:size(1), features:size(2), features:size(3)
  local weighted = (features * weights):reshape(h * w, c):transpose(1, 2):contiguous() -- {C, h w}
  local low, high = weighted:min(2):unsqueeze(2), weighted:max(2):unsqueeze(2)
  local span = (high - low):clamp(1e-30, math.huge)
  local component, explained = core.first_component((weighted - low) / span)
  local map = component:reshape(h, w)
  local most = map:max():item()
  map = by_maximum(most > 0 and map or -map)
  if core.map_border(map, border == "published") > 0.5 then map = 1 - map end
  return map, explained
end

-- ---- the weights ----

--- The classifier's weights {K,C}: of the last Linear, which must read the map's channels.
local function classifier(owner, model, channels)
  local last, name
  for path, layer in model:modules() do
    if layer:class() == "Linear" then last, name = layer, path end
  end
  if not last then options.raise(owner .. ": the model has no Linear layer; method = \"gradcam\" needs none") end
  if last.weight:size(2) ~= channels then
    options.raise(("%s: the map has %d channels, the classifier %s reads %d; \"gradcam\" takes any"):format(owner,
      channels, name, last.weight:size(2)))
  end
  return last.weight:detach()
end

local function check_class(owner, class, k)
  local number = math.tointeger(class)
  if not number or number < 1 or number > k then
    options.raise(("%s: class %s is not in 1..%d"):format(owner, tostring(class), k))
  end
  return number
end

--- Mean gradients {C} of the logit of a class by the feature map y, which `back` turns into logits.
local function gradients(y, back, choose)
  y = y:detach():requires_grad_(true)
  local logits = back(y)
  local class = choose(logits:detach())
  logits:select(2, class):sum():backward()
  return core.no_grad(function() return y.grad:mean(3):mean(2):squeeze(1) end), class, logits:detach()
end

-- ---- one picture ----

local function analyse(owner, model, halves, x, o, label)
  local function choose(logits)
    if o.class == "label" and not label then
      options.raise(owner .. ": class = \"label\", but the pictures have none")
    end
    local class = o.class == "label" and label or o.class
    if class == nil then class = logits:argmax(2):item() end
    return check_class(owner, class, logits:size(2))
  end
  local features = core.no_grad(halves.front, x)
  if features:dim() ~= 4 then options.raise(owner .. ": wants a map {N,h,w,C} from the model: give stage") end
  local weights, class, logits
  if o.method == "gradcam" then
    weights, class, logits = gradients(features, halves.back, choose)
  else
    logits = core.no_grad(halves.back, features)
    class = choose(logits)
    weights = classifier(owner, model, features:size(4))[class]
  end
  return core.no_grad(function()
    local map, explained = methods[o.method](features[1], weights, o.border)
    return { map = map, class = class, explained = explained, logit = logits[1][class]:item() }
  end)
end

-- ---- results ----

--- Pixels of a picture {H,W,C}: bytes as they are, floats over their range; of other than three channels the first.
local function pixels_of(picture, scale)
  if picture:size(3) ~= 3 then picture = picture:narrow(3, 1, 1) end
  return options.call(core.picture, picture, { scale = scale })
end

local function outline(pixels, boxes, color, scale)
  local thickness = math.max(1, math.min(pixels:size(1), pixels:size(2)) // 100)
  for _, box in ipairs(boxes or {}) do
    if type(box) ~= "table" or #box ~= 4 then options.raise("cam:overlay: a box is {x0,y0,x1,y1}") end
    local x0, y0, x1, y1 = table.unpack(box)
    options.call(core.picture_outline, pixels, { x0 * scale, y0 * scale, (x1 + 1) * scale - 1, (y1 + 1) * scale - 1 },
      color, thickness)
  end
end

--- The map over its picture.
-- @tab[opt] given alpha=0.5, colormap="magma", boxes={{x0,y0,x1,y1}, ...} (white), known={...} (green), in pixels of
-- the picture; scale=1: pixels drawn for one of the picture
-- @treturn Tensor pixels uint8 {H scale,W scale,3}
function Cam:overlay(given)
  local o = options.read("cam:overlay", given, { alpha = { "number", 0.5, 0 }, colormap = { "string", "magma" },
    boxes = { "table" }, known = { "table" }, scale = { "integer", 1, 1 } })
  local pixels = pixels_of(self.picture, o.scale)
  local map = core.map_resize(self.map, pixels:size(1), pixels:size(2)):clamp(0, 1)
  local out = options.call(core.picture_blend, pixels, options.call(core.picture, map, { colormap = o.colormap,
    min = 0, max = 1 }), o.alpha)
  outline(out, o.known, 0x40d060, o.scale)
  outline(out, o.boxes, 0xffffff, o.scale)
  return out
end

--- The overlay as PNG; options of overlay.
-- @treturn boolean true, or nil, message
function Cam:save_png(path, given) return core.write_png(self:overlay(given), path) end

--- Boxes around what the map shows, in pixels of its picture.
-- @tab[opt] given threshold=0.15 (of the maximum), largest=true (else all)
-- @treturn table {{x0,y0,x1,y1}, ...}, from 0, last row and column included
function Cam:boxes(given)
  local o = options.read("cam:boxes", given, { threshold = { "number", 0.15, 0 }, largest = { "boolean", true } })
  local map = core.map_normalize(core.map_resize(self.map, self.picture:size(1), self.picture:size(2)))
  local bytes = core.empty({ map:size(1), map:size(2) }, { dtype = "uint8" })
  bytes:copy_(map * 255)
  local level = math.min(255, math.floor(o.threshold * 255 * map:max():item()))
  local found = core.boxes(bytes, level, o.largest)
  return found:size(1) > 0 and found:tolist() or {}
end

function Cam:__tostring()
  return ("%s of class %d, map %d x %d"):format(self.method, self.class, self.map:size(1), self.map:size(2))
end

local rules = {
  method = { "string", "cam" }, class = { "integer|string" }, stage = { "integer", nil, 1 },
  border = { "string", "ring" },
}
for name, rule in pairs(images.rules) do rules[name] = rule end

local function read(owner, given)
  local o = options.read(owner, given, rules)
  if not methods[o.method] then
    options.raise(("%s: method must be \"cam\", \"gradcam\" or \"pc1\", got \"%s\"%s"):format(owner, o.method,
      options.hint(o.method, { "cam", "gradcam", "pc1" })))
  end
  if type(o.class) == "string" and o.class ~= "label" then
    options.raise(("%s: class is a number, \"label\", or nil for the predicted one, got \"%s\""):format(owner, o.class))
  end
  if o.border ~= "ring" and o.border ~= "published" then
    options.raise(("%s: border must be \"ring\" or \"published\", got \"%s\""):format(owner, o.border))
  end
  return o
end

local cam = { name = "viz.cam" }

--- Class activation maps, a list with one entry a picture. The model is in evaluation mode meanwhile.
-- "cam": mean over channels of w_c F_c, rectified, by its maximum; F the last stage's map, w the classifier's weights
-- of the class, as "CAM Back Again" does: a norm between pooling and classifier is left aside. "gradcam": the same with
-- the mean gradients of the logit for w; any stage, any head. "pc1": see methods.pc1; its border test counts the
-- outermost ring of pixels; border="published" counts as the paper's code does, with the last two rows and columns.
-- @tparam Module model an nn.Model, or a Sequential that ends in a classifier
-- @param pictures tensor, list of tensors, data set, loader, folder
-- @tab[opt] given method="cam"; class=the predicted one (a number, or "label": the picture's own); stage=the last;
-- border="ring"; size, mean, std, transforms, limit, progress as in viz.erf
-- @treturn table list of {map {h,w}, class, logit, label, picture {H,W,C}, explained (pc1: part of the variance)} with
-- methods overlay, save_png, boxes. nil, message when the folder or a file cannot be read.
-- @bool[opt] bare maps alone are kept, not the pictures: for many
function cam.run(model, pictures, given, bare)
  local o = read(cam.name, given)
  options.check_module(cam.name, model)
  local count, get = images.open(cam.name, pictures)
  if not count then return nil, get end
  count = math.min(count, o.limit or count)
  local front, back = probe.halves(cam.name, model, o.stage)
  if not back then options.raise(cam.name .. ": wants an nn.Model or a Sequential, got a " .. model:class()) end
  local out, bar = {}, progress.new("activation maps", count, { quiet = not o.progress })
  local ok, message = probe.frozen(model, function()
    for i = 1, count do
      local picture, label = get(i)
      if picture == false then break end
      if not picture then return nil, label end
      local result = analyse(cam.name, model, { front = front, back = back }, images.prepare(picture, o), o, label)
      result.picture, result.label, result.method = not bare and picture or nil, label, o.method
      out[i] = setmetatable(result, Cam)
      bar:advance(1, "")
    end
    return true
  end)
  bar:finish()
  if not ok then return nil, message end
  return show.list(out)
end

return cam
