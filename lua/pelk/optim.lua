--- Optimisers and learning-rate schedules.
-- @module pelk.optim

local core = require("pelk.core")

local optim = {}

--- AdamW (decoupled weight decay). Moves the model's parameters into one arena.
-- Weight decay skips one-dimensional parameters, position maps, and names that hold a part listed in no_decay.
-- @tparam Module model
-- @tab[opt] options lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.05, no_decay={}
-- @treturn Optimizer opt:step(), opt:zero_grad(), opt.lr (readable and writable), opt.steps
function optim.adamw(model, options) return core.optim_new("adamw", model, options) end

--- Stochastic gradient descent with momentum, as PyTorch's.
-- @tparam Module model
-- @tab[opt] options lr=0.1, momentum=0.9, dampening=0, weight_decay=0, nesterov=false, no_decay={}
function optim.sgd(model, options) return core.optim_new("sgd", model, options) end

--- Scale all gradients of the model so that their common 2-norm is at most n.
-- @treturn number the norm before
optim.clip_grad_norm = core.clip_grad_norm
--- The common 2-norm of all gradients of the model.
optim.grad_norm = core.grad_norm

local kinds = {}

--- lr(t) for t in [0, 1], the part of the run after warm-up.
function kinds.cosine(s, t) return s.min_lr + 0.5 * (s.lr - s.min_lr) * (1 + math.cos(math.pi * t)) end
function kinds.linear(s, t) return s.lr + (s.min_lr - s.lr) * t end
function kinds.constant(s) return s.lr end

local known = { kind = true, lr = true, min_lr = true, warmup_steps = true, total_steps = true, warmup_lr = true }

--- A schedule: a function of the step (from 0) that gives the learning rate.
-- Warm-up is linear from warmup_lr; then kind falls from lr to min_lr at total_steps.
-- @tab options kind="cosine"|"linear"|"constant", lr, total_steps, warmup_steps=0, warmup_lr=0, min_lr=1e-6
-- @treturn function lr = schedule(step)
function optim.schedule(options)
  if type(options) ~= "table" then error("schedule: expected a table of options, got " .. type(options), 2) end
  for k in pairs(options) do
    if not known[k] then
      error(("schedule: no option '%s'; there are kind, lr, min_lr, warmup_lr, warmup_steps, total_steps"):format(k), 2)
    end
  end
  local s = { kind = "cosine", min_lr = 1e-6, warmup_steps = 0, warmup_lr = 0 }
  for k, v in pairs(options) do s[k] = v end
  local fall = kinds[s.kind]
  if not fall then error(("schedule: kind '%s' is none of cosine, linear, constant"):format(tostring(s.kind)), 2) end
  for _, k in ipairs({ "lr", "min_lr", "warmup_steps", "warmup_lr", "total_steps" }) do
    if type(s[k]) ~= "number" or s[k] < 0 or s[k] ~= s[k] then
      error(("schedule: %s must be a number of at least 0, got %s"):format(k, tostring(s[k])), 2)
    end
  end
  return function(step)
    if step < s.warmup_steps then return s.warmup_lr + (s.lr - s.warmup_lr) * (step + 1) / s.warmup_steps end
    local rest = math.max(1, s.total_steps - s.warmup_steps)
    return fall(s, math.min(1, (step - s.warmup_steps) / rest))
  end
end

return optim
