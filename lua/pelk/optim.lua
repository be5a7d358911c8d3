--- Optimisers and learning-rate schedules.
-- @module pelk.optim

local core = require("pelk.core")
local layers = require("pelk.train.layers")
local lookup = require("pelk.options")
local show = require("pelk.show")

local optim = {}

--- AdamW (decoupled weight decay). Moves the model's parameters into one arena.
-- Weight decay skips one-dimensional parameters, position maps, and names that hold a part listed in no_decay.
-- @tparam Module model
-- @tab[opt] options lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.05, no_decay={};
--   layer_decay (0.7, say: each layer's rate is the next one's times this; three blocks of a stage are a layer, as
--   ConvNeXt numbers them), groups={{match="^stem", lr_scale=1, weight_decay=}, ...}, the first match counts
-- @treturn Optimizer opt:step(), opt:zero_grad(), opt.lr (readable and writable), opt.steps, opt:parameters()
function optim.adamw(model, options) return layers.optimizer("adamw", model, options) end

--- Stochastic gradient descent with momentum, as PyTorch's.
-- @tparam Module model
-- @tab[opt] options lr=0.1, momentum=0.9, dampening=0, weight_decay=0, nesterov=false; no_decay, layer_decay and groups
--   as for adamw
function optim.sgd(model, options) return layers.optimizer("sgd", model, options) end

--- LAMB (You et al., 2020, algorithm 2), with timm's semantics: for large batches.
-- @tparam Module model
-- @tab[opt] options lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.01, max_grad_norm=1 (0: gradients are not
--   clipped), always_adapt=false; no_decay, layer_decay and groups as for adamw
function optim.lamb(model, options) return layers.optimizer("lamb", model, options) end

--- The exponential moving average of all weights and buffers, in an arena of its own.
-- Call ema:step() after opt:step(). Where a weight has a mask, the average follows SLaK's rule: masked is 0, what
-- grew begins at the weight.
-- @tparam Module model
-- @tab[opt] options decay=0.9999, warmup=false (true: step n's decay is at most 1 - n^(-2/3), as timm's)
-- @treturn EMA ema:step(); ema:swap() exchanges averages and values (twice is as before); ema:with(f, ...) calls f
--   while the model holds the averages; ema:state(), ema:load_state(tensor, steps), ema.steps, ema.decay
function optim.ema(model, options)
  lookup.check_module("ema", model)
  return lookup.call(core.ema_new, model, options)
end

--- Scale all gradients of the model so that their common 2-norm is at most n.
-- @treturn number the norm before
optim.clip_grad_norm = core.clip_grad_norm
--- The common 2-norm of all gradients of the model.
optim.grad_norm = core.grad_norm

local kinds = {}

--- kinds.NAME(s, t, step) -> lr: s the options, t in [0, 1] the part of the run after warm-up, step from 0.
function kinds.cosine(s, t) return s.min_lr + 0.5 * (s.lr - s.min_lr) * (1 + math.cos(math.pi * t)) end
function kinds.linear(s, t) return s.lr + (s.min_lr - s.lr) * t end
function kinds.constant(s) return s.lr end
function kinds.step(s, _, step)
  return math.max(s.min_lr, s.lr * s.decay_rate ^ ((step - s.warmup_steps) // s.decay_steps))
end

local schedule_rules = {
  kind = { "string", "cosine" }, lr = { "number", nil, 0 }, total_steps = { "number", nil, 0 },
  min_lr = { "number", 1e-6, 0 }, warmup_steps = { "number", 0, 0 }, warmup_lr = { "number", 0, 0 },
  decay_steps = { "number", nil, 1 }, decay_rate = { "number", 0.1, 0 },
}

--- A schedule: a function of the step (from 0) that gives the learning rate.
-- Warm-up is linear from warmup_lr; then kind "cosine" or "linear" falls from lr to min_lr at total_steps, "step"
-- multiplies by decay_rate every decay_steps, but not below min_lr.
-- @tab given kind="cosine"|"linear"|"step"|"constant", lr, total_steps, warmup_steps=0, warmup_lr=0, min_lr=1e-6,
--   decay_steps (for "step"), decay_rate=0.1
-- @treturn function lr = schedule(step)
-- @raise for unknown options and values that do not fit
function optim.schedule(given)
  local s = lookup.read("schedule", given, schedule_rules)
  local fall = kinds[s.kind]
  if not fall then error(("schedule: kind '%s' is none of constant, cosine, linear, step"):format(s.kind), 2) end
  for _, name in ipairs({ "lr", "total_steps", s.kind == "step" and "decay_steps" or nil }) do
    if not s[name] then error(("schedule: %s is required"):format(name), 2) end
  end
  return function(step)
    if step < s.warmup_steps then return s.warmup_lr + (s.lr - s.warmup_lr) * (step + 1) / s.warmup_steps end
    local rest = math.max(1, s.total_steps - s.warmup_steps)
    return fall(s, math.min(1, (step - s.warmup_steps) / rest), step)
  end
end

return show.part("pelk.optim", optim)
