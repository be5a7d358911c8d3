--- The parts of a run from its options: optimiser, schedule, loss, averages.
local core = require("pelk.core")
local data = require("pelk.data")
local optim = require("pelk.optim")
local options = require("pelk.options")

local parts = {}

local kinds = { adamw = true, sgd = true, lamb = true }

function parts.optimizer(o)
  if type(o.optimizer) == "userdata" then
    if getmetatable(o.optimizer) ~= "pelk.Optimizer" then
      options.raise(("train: optimizer must be options or a pelk.Optimizer, got %s"):format(tostring(o.optimizer)))
    end
    if not o.optimizer:belong_to(o.model) then
      options.raise("train: the optimizer has parameters that are not the model's")
    end
    return o.optimizer
  end
  local given = {}
  for k, v in pairs(o.optimizer or {}) do given[k] = v end
  local name = given.name or "adamw"
  given.name = nil
  if not kinds[name] then
    options.raise(("train: optimizer.name must be adamw or sgd or lamb, got %s"):format(tostring(name)))
  end
  return optim[name](o.model, given)
end

--- The schedule of updates; epochs become updates.
-- @int updates an epoch's
function parts.schedule(o, lr, updates)
  if type(o.schedule) == "function" then return o.schedule end
  local given = {}
  for k, v in pairs(o.schedule or { kind = "constant" }) do given[k] = v end
  for name, least in pairs { warmup_epochs = 0, decay_epochs = 1e-9 } do
    local n = given[name]
    if n ~= nil and not (options.is_finite(n) and n >= least) then
      options.raise(("train: schedule: %s must be a number %s, got %s"):format(name,
        name == "warmup_epochs" and "from 0" or "above 0", tostring(n)))
    end
  end
  if given.warmup_epochs then
    given.warmup_steps = math.floor(given.warmup_epochs * updates + 0.5)
    given.warmup_epochs = nil
  end
  if given.decay_epochs then
    given.decay_steps = math.max(1, math.floor(given.decay_epochs * updates + 0.5))
    given.decay_epochs = nil
  end
  if given.kind == "step" and not given.decay_steps then
    options.raise('train: schedule: kind = "step" wants decay_epochs, the epochs between two falls')
  end
  given.lr = given.lr or lr
  given.total_steps = given.total_steps or o.epochs * updates
  return optim.schedule(given)
end

--- The weights of the classes, float32 {K}, or nil: a tensor, a list, or "balanced" (the training set's class_weights).
local function class_weights(o, given)
  if given == nil or type(given) == "userdata" then return given end
  if type(given) == "table" then return options.call(core.tensor, given, { #given }) end
  if given ~= "balanced" then
    options.raise(("train: loss: weight must be a tensor, a list or \"balanced\", got %s"):format(given))
  end
  local set = o.train.ds
  if not set then options.raise("train: loss: weight = \"balanced\" needs a loader of pelk.data") end
  return options.call(set.class_weights, set)
end

local loss_rules = { label_smoothing = { "number", 0, 0 }, weight = { "userdata|table|string" } }

function parts.loss(o)
  if type(o.loss) == "function" then return o.loss end
  local given = options.read("train: loss", o.loss, loss_rules)
  if given.label_smoothing >= 1 then
    options.raise(("train: loss: label_smoothing must be below 1, got %s"):format(given.label_smoothing))
  end
  local weight, smoothed = class_weights(o, given.weight), { label_smoothing = given.label_smoothing }
  return function(logits, y)
    -- soft targets come smoothed
    return core.ops.cross_entropy(logits, y, weight, y:dtype() == "int32" and smoothed or nil)
  end
end

--- What mixes the batches, or nil: of data.mixup, or its options (the classes are the model's when not given).
function parts.mixup(o)
  if not o.mixup then return nil end
  if o.train.mixup then options.raise("train: the training loader has a mixup already") end
  if type(o.mixup) == "table" and type(o.mixup.apply) == "function" then return o.mixup end
  local given = {}
  for k, v in pairs(o.mixup ~= true and o.mixup or {}) do given[k] = v end
  given.num_classes = given.num_classes or o.train.classes and #o.train.classes or o.model:options().num_classes
  return data.mixup(given)
end

local ema_rules = { decay = { "number", 0.9999, 0 }, warmup = { "boolean", false }, publish = { "string", "beside" } }

--- The averages, or nil.
-- @treturn string "beside" or "alone"
function parts.ema(o)
  if not o.ema then return nil end
  local given = options.read("train: ema", o.ema ~= true and o.ema or nil, ema_rules)
  if given.publish ~= "beside" and given.publish ~= "alone" then
    options.raise(("train: ema.publish must be beside or alone, got %s"):format(given.publish))
  end
  return optim.ema(o.model, { decay = given.decay, warmup = given.warmup }), given.publish
end

return parts
