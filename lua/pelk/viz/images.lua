--- Pictures to look with, one by one: from a tensor, a list of tensors, a data set, a loader or a folder.
local core = require("pelk.core")
local Loader = require("pelk.data.loader")
local options = require("pelk.options")
local Set = require("pelk.data.set")

local images = {}

--- Of ImageNet's training set: what photographs are normalised with.
local IMAGENET = { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } }

--- The options that a function which looks at pictures takes.
images.rules = {
  size = { "integer|table" }, mean = { "table" }, std = { "table" }, transforms = { "table" },
  limit = { "integer", nil, 1 }, progress = { "boolean", true },
}

local function is_tensor(t) return type(t) == "userdata" and getmetatable(t) == "pelk.Tensor" end

--- What a picture goes through before the model: bytes are resized (bicubic, never cropped), brought to 0..1 and
-- normalised (three channels: with ImageNet's mean and deviation unless told); floats are only resized.
local function pipeline(picture, o)
  if o.transforms then return o.transforms end
  local list, c = {}, picture:size(-1)
  if o.size then
    local size = type(o.size) == "table" and o.size or { o.size, o.size }
    list[1] = core.transform("resize", { size = size, interpolation = "bicubic" })
  end
  if picture:dtype() ~= "uint8" then return list end
  list[#list + 1] = core.transform("to_float")
  local mean, std = o.mean, o.std
  if c == 3 then mean, std = mean or IMAGENET.mean, std or IMAGENET.std end
  if mean or std then
    list[#list + 1] = core.transform("normalize", { mean = mean or { 0 }, std = std or { 1 } })
  end
  return list
end

--- A picture {H,W,C} as the model takes it: float32 {1,h,w,C}.
function images.prepare(picture, o)
  local list = pipeline(picture, o)
  local x = picture:contiguous():unsqueeze(1)
  if #list == 0 and picture:dtype() == "float32" then return x end
  local loader = options.call(Loader.new, Set.new(x), { batch = 1, transforms = list })
  return (loader:epoch(0)())
end

--- {H,W}, {H,W,C}: one picture; {N,H,W,C}: n.
local function from_tensor(owner, t)
  if t:dim() == 2 then t = t:unsqueeze(3) end
  if t:dim() == 3 then t = t:unsqueeze(1) end
  if t:dim() ~= 4 or t:dtype() == "int32" then
    options.raise(("%s: wants pictures {N,H,W,C} as float32 or uint8, got %s"):format(owner,
      tostring(t):match("[^\n]*$")))
  end
  return t:size(1), function(i) return t[i] end
end

local function from_list(owner, list)
  if #list == 0 then options.raise(owner .. ": an empty list of pictures") end
  return #list, function(i)
    if not is_tensor(list[i]) then options.raise(("%s: picture %d is no pelk.Tensor"):format(owner, i)) end
    local _, get = from_tensor(owner, list[i])
    return get(1)
  end
end

--- A loader's batches are taken as they come: its transforms made them. false after the last one, which comes early
-- where broken files are left out.
local function from_loader(loader)
  local next_batch, x, y, at = loader:epoch(0), nil, nil, 0
  return loader:size(), function()
    if not x or at == x:size(1) then
      x, y = next_batch()
      if not x then return false end
      at = 0
    end
    at = at + 1
    return x[at], y and y[at]:dim() == 0 and y[at]:item() or nil
  end
end

--- How many pictures there are, and a function that gives picture i {H,W,C} and its label if there is one, or nil and
-- a message when its file cannot be read, or false when there are no more; i goes up. nil, message when a folder cannot
-- be read.
function images.open(owner, source)
  if is_tensor(source) then return from_tensor(owner, source) end
  if type(source) == "string" then
    local set, message = require("pelk.data.folder").pictures { root = source }
    if not set then return nil, message end
    source = set
  end
  if type(source) ~= "table" then
    options.raise(("%s: wants pictures as a tensor, a list, a data set, a loader or a folder, got %s"):format(owner,
      type(source)))
  end
  if type(source.epoch) == "function" then return from_loader(source) end
  if type(source.get) == "function" then return source:size(), function(i) return source:get(i) end end
  return from_list(owner, source)
end

return images
