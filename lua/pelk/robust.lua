--- How a classifier does on pictures other than those it knows: shape bias, corruptions.
local core = require("pelk.core")
local data = require("pelk.data")
local evaluate = require("pelk.train").evaluate
local json = require("pelk.json")
local images = require("pelk.viz.images")
local options = require("pelk.options")
local probe = require("pelk.viz.probe")
local progress = require("pelk.progress")
local show = require("pelk.show")

local robust = {}

-- ---- corruptions ----

local KINDS = { "gaussian_noise", "gaussian_blur", "jpeg", "contrast", "pixelate" }

local Corruptions = {}
Corruptions.__index = Corruptions

function Corruptions:__tostring()
  local head = ("%-16s"):format("top-1, %")
  for _, severity in ipairs(self.severities) do head = head .. (" %7d"):format(severity) end
  local lines = { head .. "    mean", ("%-16s %7.2f"):format("clean", self.clean) }
  for _, kind in ipairs(self.kinds) do
    local line = ("%-16s"):format(kind)
    for _, severity in ipairs(self.severities) do line = line .. (" %7.2f"):format(self.top1[kind][severity]) end
    lines[#lines + 1] = line .. (" %7.2f"):format(self.mean[kind])
  end
  lines[#lines + 1] = ("mean corruption error %.2f %%"):format(self.error)
  if self.mce then lines[#lines + 1] = ("mCE %.2f %% of the baseline's"):format(self.mce) end
  return table.concat(lines, "\n")
end

local corruption_rules = {
  kinds = { "table" }, severities = { "table" }, transforms = { "table" }, batch = { "integer", 128, 1 },
  seed = { "integer", 0 }, baseline = { "table" }, progress = { "boolean", true },
}

--- The loader of a data set, with these transforms before the usual ones.
local function loader_of(ds, o, first)
  local list = { table.unpack(first) }
  for _, transform in ipairs(o.transforms or { data.transforms.to_float() }) do list[#list + 1] = transform end
  return data.loader(ds, { batch = o.batch, seed = o.seed, transforms = list })
end

--- The sum of errors over severities by the baseline's, the mean over kinds (ImageNet-C's mCE).
local function relative_error(result, baseline)
  local sum = 0
  for _, kind in ipairs(result.kinds) do sum = sum + (100 - result.mean[kind]) / baseline[kind] end
  return 100 * sum / #result.kinds
end

--- All corruptions: transforms by kind and severity. What is wrong is told before the first picture.
local function corruptions(kinds, severities, baseline)
  local all = {}
  for _, kind in ipairs(kinds) do
    local reference = baseline and baseline[kind]
    if baseline and (type(reference) ~= "number" or reference <= 0) then
      options.raise(("robust.corruptions: baseline has no mean error for %s"):format(kind))
    end
    all[kind] = {}
    for _, severity in ipairs(severities) do
      all[kind][severity] = data.transforms.corrupt { kind = kind, severity = severity }
    end
  end
  return all
end

--- Top-1 accuracy under noise, blur, JPEG, low contrast and coarse pixels (data.transforms.corrupt).
-- @tparam Module model
-- @param ds a data set of pictures as bytes, with labels
-- @tab[opt] given kinds (all five); severities={1,2,3,4,5}; transforms after the corruption={to_float}: those of the
-- model's evaluation, without resizing before (give pictures of the size that is corrupted); batch=128; seed=0 of the
-- noise; baseline={gaussian_noise = mean error of a reference model in per cent, ...} for mCE; progress=true
-- @treturn table {clean, top1[kind][severity], mean[kind], error (mean of 100 - mean over kinds), mce, kinds,
-- severities}; prints as a table
function robust.corruptions(model, ds, given)
  local o = options.read("robust.corruptions", given, corruption_rules)
  options.check_module("robust.corruptions", model)
  local kinds, severities = o.kinds or KINDS, o.severities or { 1, 2, 3, 4, 5 }
  local corrupt = corruptions(kinds, severities, o.baseline)
  local function top1(first, label)
    return evaluate(model, loader_of(ds, o, first), { progress = o.progress, label = label }).top1
  end
  local result = { kinds = kinds, severities = severities, top1 = {}, mean = {}, clean = top1({}, "clean"), error = 0 }
  for _, kind in ipairs(kinds) do
    result.top1[kind], result.mean[kind] = {}, 0
    for _, severity in ipairs(severities) do
      result.top1[kind][severity] = top1({ corrupt[kind][severity] }, ("%s %d"):format(kind, severity))
      result.mean[kind] = result.mean[kind] + result.top1[kind][severity] / #severities
    end
    result.error = result.error + (100 - result.mean[kind]) / #kinds
  end
  if o.baseline then result.mce = relative_error(result, o.baseline) end
  return setmetatable(result, Corruptions)
end

-- ---- shape bias ----

local Bias = {}
Bias.__index = Bias

function Bias:__tostring()
  local lines = { ("shape bias %.1f %% (%d shape, %d texture, %d neither, of %d pictures with two cues)"):format(
    100 * self.bias, self.shape, self.texture, self.neither, self.n) }
  for _, row in ipairs(self.classes) do
    lines[#lines + 1] = ("  %-12s %5.1f %%  (%d)"):format(row.name, 100 * row.bias, row.n)
  end
  return table.concat(lines, "\n")
end

--- The cues that a file's name tells, as model-vs-human names them: "cat7-elephant2.png" has the shape of a cat and the
-- texture of an elephant. nil when it is no such name.
function robust.cues(path)
  return (path:match("[^/\\]*$")):match("^([%a_]+)%d*%-([%a_]+)%d*%.%w+$")
end

--- {name, ...} sorted, and {name = {indices}}; checked against the number of the model's classes.
local function read_map(map, k)
  local names = {}
  for name, list in pairs(map) do
    if type(list) ~= "table" or #list == 0 then
      options.raise(("robust.shape_bias: class '%s' wants a list of the model's classes"):format(tostring(name)))
    end
    for _, i in ipairs(list) do
      if not math.tointeger(i) or i < 1 or i > k then
        options.raise(("robust.shape_bias: class '%s' lists %s, the model has 1..%d"):format(name, tostring(i), k))
      end
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

--- The class whose mean probability is largest, of the names in order.
local function decide(probabilities, names, map)
  local best, most = nil, -1
  for _, name in ipairs(names) do
    local sum = 0
    for _, i in ipairs(map[name]) do sum = sum + probabilities[i] end
    if sum / #map[name] > most then best, most = name, sum / #map[name] end
  end
  return best
end

local function cues_of(source, i, map)
  local shape, texture
  if type(source.cues) == "table" then
    shape, texture = table.unpack(source.cues[i] or {})
  elseif type(source.path) == "function" then
    shape, texture = robust.cues(source:path(i))
  end
  for _, cue in ipairs { shape or false, texture or false } do
    if not cue then options.raise(("robust.shape_bias: picture %d has no two cues"):format(i)) end
    if not map[cue] then options.raise(("robust.shape_bias: picture %d: no class '%s' in classes"):format(i, cue)) end
  end
  return shape, texture
end

local bias_rules = { classes = { "string|table" } }
for name, rule in pairs(images.rules) do bias_rules[name] = rule end

--- The class map of a JSON file: {"name": [the model's classes, from 1], ...}; or nil, message.
local function class_map(path)
  local map, message = json.read(path)
  if type(map) ~= "table" then return nil, message or path .. ": is no class map" end
  return map
end

local function count(result, by_class, decision, shape, texture)
  result.n = result.n + 1
  local row = by_class[shape] or { name = shape, shape = 0, texture = 0 }
  by_class[shape] = row
  local what = decision == shape and "shape" or decision == texture and "texture" or "neither"
  result[what] = result[what] + 1
  if what ~= "neither" then row[what] = row[what] + 1 end
end

local function finish(result, by_class, names)
  local decided = result.shape + result.texture
  result.bias = decided > 0 and result.shape / decided or 0 / 0
  result.classes = {}
  for _, name in ipairs(names) do
    local row = by_class[name]
    if row then
      row.n = row.shape + row.texture
      row.bias = row.n > 0 and row.shape / row.n or 0 / 0
      table.insert(result.classes, row)
    end
  end
  return setmetatable(result, Bias)
end

--- Shape bias on pictures with the shape of one class and the texture of another (Geirhos et al., ICLR 2019; the
-- model-vs-human toolbox): probabilities are averaged over the model's classes that make up a named one, the largest
-- decides; of pictures decided for their shape or their texture, the part decided for shape. Pictures whose two cues
-- are the same class are left out.
-- @tparam Module model images to logits {N,K}
-- @param pictures a folder (and those below it) of files named "cat7-elephant2.png" (shape, then texture); or
-- {x = pictures (tensor, list), cues = {{"cat", "elephant"}, ...}}
-- @tab given classes={cat = {282, 283, ...}, ...}: the model's classes (from 1) that make up each, or the path of a
-- JSON file that holds them; size, mean, std, transforms, limit, progress as in viz.erf
-- @treturn table {bias, shape, texture, neither, n, classes = {{name, bias, n}, ...} by shape}; prints. nil, message
-- when the folder or a file cannot be read.
function robust.shape_bias(model, pictures, given)
  local o = options.read("robust.shape_bias", given, bias_rules)
  options.check_module("robust.shape_bias", model)
  if not o.classes then options.raise("robust.shape_bias: classes is required: {name = {the model's classes}, ...}") end
  if type(o.classes) == "string" then
    local map, message = class_map(o.classes)
    if not map then return nil, message end
    o.classes = map
  end
  local source = pictures
  if type(pictures) == "string" then
    local message
    source, message = data.pictures { root = pictures }
    if not source then return nil, message end
  elseif type(pictures) ~= "table" then
    options.raise("robust.shape_bias: wants a folder, or {x = pictures, cues = {{shape, texture}, ...}}")
  end
  local total, get = images.open("robust.shape_bias", source.cues and source.x or source)
  total = math.min(total, o.limit or total)
  local result, by_class, names = { shape = 0, texture = 0, neither = 0, n = 0 }, {}, nil
  local unread
  local bar = progress.new("shape bias", total, { quiet = not o.progress })
  probe.frozen(model, function()
    core.no_grad(function()
      for i = 1, total do
        local shape, texture = cues_of(source, i, o.classes)
        local picture, trouble = get(i)
        if not picture then
          unread = trouble
          return
        end
        local logits <close> = model(images.prepare(picture, o))
        names = names or read_map(o.classes, logits:size(2))
        if shape ~= texture then
          local probabilities = core.ops.softmax(logits, { dim = 2 }):flat()
          count(result, by_class, decide(probabilities, names, o.classes), shape, texture)
        end
        bar:advance(1, "")
      end
    end)
  end)
  bar:finish()
  if unread then return nil, unread end
  return finish(result, by_class, names or {})
end

return show.part("pelk.robust", robust)
