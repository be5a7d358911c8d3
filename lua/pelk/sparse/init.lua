--- Dynamic sparse training: masks over a model's weights that prune and grow while it trains (SLaK, arXiv 2207.03620,
-- section 3.3; RigL, arXiv 1911.11134; SET).
-- @module pelk.sparse

local core = require("pelk.core")
local options = require("pelk.options")
local show = require("pelk.show")
local begin = require("pelk.sparse.begin")
local file = require("pelk.sparse.file")
local live_taps = require("pelk.sparse.live")
local presets = require("pelk.sparse.presets")
local reports = require("pelk.sparse.report")

local sparse = { presets = presets, save = file.save, load = file.load }

-- ---- the object ----

local Sparse = {}
Sparse.__index = Sparse

function Sparse:__tostring()
  local steps, updates, _, active, total = self.masks_:counts()
  return ("pelk.sparse: %d layers, density %.4f (%d of %d weights), %d steps, %d updates"):format(#self.names,
    active / math.max(1, total), active, total, steps, updates)
end

local function number_of(self, name, owner)
  for i, known in ipairs(self.names) do
    if known == name then return i end
  end
  options.raise(("%s: no masked weight is called '%s'%s"):format(owner, tostring(name), options.hint(name, self.names)))
end

--- Attach masks to a model.
--
-- Masked are the weights that SLaK masks: of linear layers and convolutions, the classifier too; a peripheral kernel's
-- mask lies on its k' x k' parameters. From here on no optimiser's step leaves a masked weight other than zero.
-- @tparam Module model
-- @tab[opt] given
--   density=0.6 of all chosen weights together, in (0, 1];
--   init="snip" with a batch, "resume" with a checkpoint, else "erk"; also "uniform", "resume";
--   batch={x, y} or a list of such pairs, for snip; loss=function(logits, y), cross-entropy without;
--   snip="ratios": SNIP says how many a layer has, and these are drawn at random (SLaK), or "masks": those that it
--   scores highest;
--   checkpoint (with init="resume"): a file of sparse.save, or {name = mask}; without it what is not zero now;
--   only, exclude: Lua patterns of parameter names, one or a list;
--   growth="random"|"gradient"|"momentum", prune_rate=0.3, prune_rate_end=0.005, update_every=100 (0: never),
--   total_steps (of the training; without it the rate stays), stop=1 (share of it after which masks stay);
--   redistribute="none"|"magnitude"|"gradient"|"momentum": what is pruned is shared anew among the layers;
--   keep_moments=false: true lets grown weights keep moments, and their value when pruned in the same update (SLaK);
--   image_size (n or {h, w}) and dead="keep"|"exclude": taps that no image reaches leave the budget;
--   dense_from=0.99: layers at least so dense get no mask; seed; preset: a name in sparse.presets
-- @treturn Sparse s:step() after every opt:step(), s:density(), s:report(), s:masks(), ...
-- @raise for options that make no sense; the model is unchanged then
-- @usage local s = pelk.sparse.attach(model, { density = 0.6, init = "erk", total_steps = 1000 })
function sparse.attach(model, given)
  local masks, names, live, o = begin.attach(model, given)
  return setmetatable({ masks_ = masks, model = model, names = names, live = live, dead = o.dead,
    image_size = o.image_size }, Sparse)
end

--- Take all masks off a model's weights, whoever attached them. The weights stay as they are.
function sparse.detach(model)
  options.check_module("sparse.detach", model)
  for _, entry in ipairs(model:named_parameters()) do core.mask_drop(entry.tensor) end
end

--- After opt:step(): what is masked is zero; when an update is due, prune and grow.
-- @treturn boolean was there an update?
-- @raise when a weight, gradient or moment is no finite number; nothing has changed then
function Sparse:step()
  if not self.masks_:belong_to(self.model) then
    options.raise("sparse: the model's weights are no longer those that were masked: it was merged, or its layers "
      .. "replaced")
  end
  return options.call(self.masks_.step, self.masks_)
end

--- An update now, whatever the schedule says.
-- @number[opt] rate share of the connections to replace; the schedule's without it
function Sparse:update(rate)
  options.call(self.masks_.update, self.masks_, rate or self.masks_:rate())
end

--- The share of connections that an update in this step replaces; 0 where the masks stay.
function Sparse:rate() return self.masks_:rate() end

--- Connections over weights: of all masked layers together (dense ones among the chosen counted), or of one.
-- @string[opt] name of a weight
function Sparse:density(name)
  if name == nil then
    local _, _, _, active, total = self.masks_:counts()
    return active / math.max(1, total)
  end
  local layer = self.masks_:layers()[number_of(self, name, "density")]
  return layer.active / math.max(1, layer.live)
end

--- {name = float32 tensor of the weight's shape}: 1 where there is a connection.
function Sparse:masks()
  local out = {}
  for i, name in ipairs(self.names) do out[name] = self.masks_:mask(i) end
  return show.record(out)
end

--- How many of a layer's connections are on dead taps.
local function add_dead(self, rows, live)
  for i, row in ipairs(rows) do
    local l = live[row.name]
    if l then
      row.dead = l.dead * row.shape[#row.shape]
      row.alive = row.total - row.dead
      row.active_dead = row.active - self.masks_:overlap(i, l.map)
    end
  end
end

--- Density, what moved in the last update, ages of connections in steps, by layer.
-- @tab[opt] given image_size: dead taps of the depthwise kernels at that size (attach's without it)
-- @treturn table rows {name, shape, total, live, active, density, pruned, grown, age, oldest, masked, dead, alive,
--   active_dead} and totals; prints as a table
function Sparse:report(given)
  local o = options.read("report", given, { image_size = { "integer|table" } })
  local rows = self.masks_:layers()
  local image_size = o.image_size or self.image_size
  if image_size then
    add_dead(self, rows, o.image_size and options.call(live_taps, self.model, image_size) or self.live)
  end
  local steps, updates, last, active, total = self.masks_:counts()
  return reports.new(rows, { steps = steps, updates = updates, last_update = last >= 0 and last or nil, active = active,
    total = total, prune_rate = self.masks_:rate(), image_size = image_size })
end

--- The report as a small plain table, as the training loop logs it.
function Sparse:log() return reports.log(self:report()) end

local function first_masked(self)
  for i, row in ipairs(self.masks_:layers()) do
    if row.masked then return i end
  end
  return 1
end

--- Draw the mask of a layer: white connections on black; a depthwise kernel as a tile a channel.
-- @string path of the PNG file
-- @tab[opt] given layer (a weight's name; the first that is masked without it), channels=64, scale (pixels a weight; 0:
--   chosen)
-- @treturn boolean true, or nil, message
function Sparse:picture(path, given)
  local o = options.read("picture", given, { layer = { "string" }, channels = { "integer", 64, 1 },
    scale = { "integer", 0, 0 } })
  local mask = self.masks_:mask(o.layer and number_of(self, o.layer, "picture") or first_masked(self))
  local shape = mask:shape()
  if #shape == 3 then
    if shape[3] > o.channels then mask = mask:narrow(3, 1, o.channels) end
    return core.write_png(core.picture_tiles(mask, { colormap = "gray", scale = o.scale, each = false, min = 0,
      max = 1 }), path)
  end
  mask = mask:reshape({ shape[1], mask:numel() // shape[1] })
  local scale = o.scale > 0 and o.scale or math.max(1, 512 // math.max(mask:size(1), mask:size(2)))
  return core.write_png(core.picture(mask, { scale = scale, min = 0, max = 1 }), path)
end

--- What a run needs to go on exactly: tensors by name, and a plain table beside them.
function Sparse:state()
  local tensors = {}
  for i, name in ipairs(self.names) do tensors[name] = self.masks_:born(i) end
  local steps, updates, last = self.masks_:counts()
  return tensors, { steps = steps, updates = updates, last_update = last, options = self.masks_:options() }
end

--- Take over what state() gave, of a model with the same layers: masks, births, steps and the seed.
-- @raise when names or shapes differ; the model is unchanged then
function Sparse:load_state(tensors, info)
  if type(tensors) ~= "table" or type(info) ~= "table" then
    options.raise("sparse: load_state wants the two tables that state() gives")
  end
  local known = {}
  for _, name in ipairs(self.names) do known[name] = true end
  for name in pairs(tensors) do
    if not known[name] then
      options.raise(("sparse: the state has a mask of '%s', which is not masked here"):format(name))
    end
  end
  self.masks_ = begin.again(self, tensors, info)
end

--- Write the model in the compact form: bits and values. See sparse.save.
function Sparse:save(path, metadata) return file.save(self.model, path, metadata) end

--- Take the masks off; the weights stay as they are, and step() is an error from here on.
function Sparse:detach() self.masks_:detach() end

return show.part("pelk.sparse", sparse)
