-- Mixup, cutmix, or one of them by chance, on whole batches; and soft targets from labels.
local core = require "pelk.core"
local options = require "pelk.options"

local Mixup = {}
Mixup.__index = Mixup
Mixup.__name = "pelk.Mixup"

local rules = {
  num_classes = { "integer", nil, 1 },
  mixup_alpha = { "number", 0.8, 0 },
  cutmix_alpha = { "number", 1.0, 0 },
  prob = { "number", 1.0, 0 },
  switch_prob = { "number", 0.5, 0 },
  label_smoothing = { "number", 0.1, 0 },
}

-- data.mixup{num_classes=, mixup_alpha=0.8, cutmix_alpha=1, prob=1, switch_prob=0.5, label_smoothing=0.1}: timm's Mixup
-- in mode "batch". Picture i of a batch is mixed with picture n+1-i; an alpha of 0 turns that kind off.
function Mixup.new(given)
  local o = options.read("mixup", given, rules)
  if not o.num_classes then options.raise("mixup: num_classes is required") end
  return setmetatable({ options = o }, Mixup)
end

-- Mix x, float32 {N,H,W,C}, in place, and give the targets {N,num_classes} for labels y. Everything drawn depends on
-- the three numbers only.
function Mixup:apply(x, y, seed, epoch, number)
  return core.mix(x, y, self.options, seed or 0, epoch or 0, number or 1)
end

function Mixup:__tostring()
  local o = self.options
  return ("mixup{mixup_alpha=%g, cutmix_alpha=%g, prob=%g, switch_prob=%g, label_smoothing=%g}"):format(o.mixup_alpha,
    o.cutmix_alpha, o.prob, o.switch_prob, o.label_smoothing)
end

-- data.soft_targets(y, {num_classes=, label_smoothing=0, weights=}): float32 {N,num_classes} for a cross-entropy, each
-- row times the weight of its class (ds:class_weights()).
local function soft_targets(y, given)
  local o = options.read("soft_targets", given, {
    num_classes = { "integer", nil, 1 }, label_smoothing = { "number", 0, 0 }, weights = { "userdata" },
  })
  local classes = o.num_classes or o.weights and o.weights:size(1)
  if not classes then options.raise("soft_targets: num_classes is required") end
  return options.call(core.soft_targets, y, classes, o.label_smoothing, o.weights)
end

return { new = Mixup.new, soft_targets = soft_targets }
