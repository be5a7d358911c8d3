--- Importance sampling: an epoch trains on a part of the images only, the hard ones more often than the easy ones.
-- An image is drawn with a probability that grows with the loss it had when it was last seen, and counts in the loss by
-- the inverse, so that a batch's loss still estimates the mean over all images (Katharopoulos and Fleuret, "Not All
-- Samples Are Created Equal", ICML 2018). What is hard is told by the losses of past epochs, as in InfoBatch (Qin et
-- al., ICLR 2024); the number of images is fixed, so that an epoch has as many batches as any other.
local core = require("pelk.core")
local options = require("pelk.options")

local Sampled = {}
Sampled.__index = Sampled

local rules = { keep = { "number", 0.5, 0 }, uniform = { "number", 0.5, 0 } }

local OFFSETS = 65536 -- places at which the systematic sampling may begin

local function check(o, given)
  local loader = o.train
  for name, value in pairs(given) do
    if not (value > 0 and value <= 1) then
      options.raise(("train: sampling: %s must be above 0 and at most 1, got %s"):format(name, value))
    end
  end
  if not (loader.ds and loader.ds.y and loader.ds.y:dtype() == "int32") then
    options.raise("train: sampling needs a loader of pelk.data with labels")
  end
  if not loader.shuffle then options.raise("train: sampling needs a loader with shuffle = true") end
  if o.mixup or loader.mixup then
    options.raise("train: sampling does not go with mixup, whose images are made of two")
  end
  if type(o.loss) == "function" or o.loss and o.loss.weight then
    options.raise("train: sampling weighs the loss itself: no function and no class weights there")
  end
  if loader.ds.broken == "skip" then
    options.raise("train: sampling needs to know which image is which: no data set with broken = \"skip\"")
  end
end

--- How many images an epoch is of n: those that options.sampling keeps.
function Sampled.images_of(sampling, n)
  if not sampling then return n end
  local keep = type(sampling) == "table" and sampling.keep or rules.keep[2]
  return math.max(1, math.floor(keep * n + 0.5))
end

--- A loader that takes the place of the run's, or nil.
-- @tab o the run's options; sampling = {keep=0.5: the share of the images that an epoch trains on; uniform=0.5: how
--   much of an image's probability does not depend on its loss}
function Sampled.begin(o)
  if not o.sampling then return nil end
  local given = options.read("train: sampling", o.sampling ~= true and o.sampling or nil, rules)
  check(o, given)
  local loader = o.train
  local ds = loader.ds
  local rows = core.epoch_order(ds.rows or ds.n, false, 0, 0):flat()
  local count = Sampled.images_of(given, #rows)
  local self = setmetatable({ loader = loader, ds = ds, seed = loader.seed, classes = loader.classes, keep = given.keep,
    uniform = given.uniform, rows = rows, count = count, losses = {},
    smoothing = o.loss and o.loss.label_smoothing or 0.0 }, Sampled)
  if self:batches() < 1 then
    options.raise(("train: sampling: %d images of an epoch do not make a batch of %d"):format(count, loader.batch))
  end
  return self
end

function Sampled:batches() return self.loader:batches(self.count) end
function Sampled:size() return self.loader:size(self.count) end

-- ---- drawing ----

--- What each row's probability is proportional to. What was not seen yet counts as the hardest.
local function hardness(self)
  local sum, seen, largest = 0.0, 0, 0.0
  for _, row in ipairs(self.rows) do
    local loss = self.losses[row]
    if loss then sum, seen, largest = sum + loss, seen + 1, math.max(largest, loss) end
  end
  local share, by = {}, sum > 0 and (1 - self.uniform) * seen / sum or 0.0
  for i, row in ipairs(self.rows) do share[i] = self.uniform + by * (self.losses[row] or largest) end
  return share
end

--- The factor that makes min(1, factor * share) add up to the count.
local function factor_of(share, count)
  local sorted, rest = table.move(share, 1, #share, 1, {}), 0.0
  table.sort(sorted)
  for _, value in ipairs(sorted) do rest = rest + value end
  for certain = 0, #sorted - 1 do -- the hardest ones are drawn in any case
    local largest = sorted[#sorted - certain]
    local factor = (count - certain) / rest
    if factor * largest <= 1 then return factor end
    rest = rest - largest
  end
  return math.huge
end

--- Draw the rows of an epoch, in its order, and their weights; what was drawn before is gone. By systematic sampling
-- over the rows in random order: always `count` of them.
function Sampled:draw(epoch)
  local share = hardness(self)
  local factor = factor_of(share, self.count)
  local chance = {}
  for i, row in ipairs(self.rows) do chance[row] = math.min(1, factor * share[i]) end
  local order = core.epoch_order(self.ds.rows or self.ds.n, true, self.seed, epoch):flat()
  local passed = core.epoch_order(OFFSETS, true, self.seed, epoch)[1]:item() / OFFSETS
  local chosen, weights = {}, {}
  for i, row in ipairs(order) do
    passed = passed + chance[row]
    local left = self.count - #chosen
    if left > 0 and (passed >= 1 or left > #order - i) then -- the second: of the last ones, what rounding left out
      passed = passed - 1
      chosen[#chosen + 1], weights[#weights + 1] = row, self.count / (#order * chance[row])
    end
  end
  self.epoch_drawn, self.chosen, self.weights = epoch, chosen, weights
end

--- for x, y, number in sampled:epoch(n, start_batch), as a loader's.
function Sampled:epoch(n, start_batch)
  if self.epoch_drawn ~= n then self:draw(n) end
  local rows = core.tensor(self.chosen, { #self.chosen }, { dtype = "int32" })
  local step, state, control, closing = self.loader:epoch(n, start_batch, rows)
  local function next_batch(...)
    local x, y, number = step(...)
    self.number = number
    return x, y, number
  end
  return next_batch, state, control, closing
end

-- ---- the loss ----

--- Of the batch that epoch gave last: the weighted mean. What each image's was is remembered.
function Sampled:loss(logits, y)
  local first, n, classes = (self.number - 1) * self.loader.batch, y:size(1), logits:size(2)
  for i, value in ipairs(core.row_losses(logits, y):flat()) do
    if value < math.huge then self.losses[self.chosen[first + i]] = math.max(value, 0.0) end -- rounding goes below 0
  end
  local weights = core.tensor(table.move(self.weights, first + 1, first + n, 1, {}), { n, 1 })
  local targets <close> = core.soft_targets(y, classes, self.smoothing) * weights
  return core.ops.cross_entropy(logits, targets)
end

-- ---- checkpoints ----

--- What a checkpoint keeps: the losses (-1: not seen), and what the epoch trains on.
function Sampled:state()
  local losses = {}
  for i, row in ipairs(self.rows) do losses[i] = self.losses[row] or -1.0 end
  local tensors = { losses = core.tensor(losses, { #losses }) }
  if self.chosen then
    tensors.chosen = core.tensor(self.chosen, { #self.chosen }, { dtype = "int32" })
    tensors.weights = core.tensor(self.weights, { #self.weights })
  end
  return tensors, { epoch = self.epoch_drawn, keep = self.keep, uniform = self.uniform }
end

--- After a rollback the place in the data stays, and what it is made of.
function Sampled:load_state(tensors, about)
  if self.epoch_drawn then return end
  for _, name in ipairs({ "keep", "uniform" }) do
    if about[name] ~= self[name] then
      error(("the run's sampling had %s = %g, now it is %g"):format(name, about[name], self[name]), 0)
    end
  end
  if tensors.losses:numel() ~= #self.rows then
    error(("the run's sampling was of %d images, now there are %d"):format(tensors.losses:numel(), #self.rows), 0)
  end
  for i, loss in ipairs(tensors.losses:flat()) do
    if loss >= 0 then self.losses[self.rows[i]] = loss end
  end
  if about.epoch then
    self.epoch_drawn, self.chosen, self.weights = about.epoch, tensors.chosen:flat(), tensors.weights:flat()
  end
end

function Sampled:__tostring()
  return ("%s, %d of %d images an epoch by importance"):format(tostring(self.loader), self.count, #self.rows)
end

return Sampled
