--- The training loop.
-- @module pelk.train

local core = require("pelk.core")
local optim = require("pelk.optim")
local options = require("pelk.options")
local progress = require("pelk.progress")
local show = require("pelk.show")
local Run = require("pelk.train.run")
local evaluate = require("pelk.train.evaluate")

local rules = {
  model = { "userdata" },
  train = { "table" },
  val = { "table" },
  epochs = { "integer", 10, 1 },
  optimizer = { "table|userdata" },
  schedule = { "table" },
  loss = { "function|table" },
  clip_grad = { "number" },
  out = { "string" },
  resume = { "boolean", false },
  seed = { "integer" },
  callbacks = { "table" },
  save_minutes = { "number", 5, 0 },
  progress = { "boolean", true },
}

local History = {}
History.__index = History

--- A history prints as a table of its epochs.
function History:__tostring()
  local lines = { "epoch  train loss  train top-1  eval loss  eval top-1  images/s" }
  for _, r in ipairs(self) do
    lines[#lines + 1] = ("%5d  %10.4f  %9.2f %%  %9s  %10s  %8.0f"):format(r.epoch, r.train_loss, r.train_top1,
      r.eval_loss and ("%.4f"):format(r.eval_loss) or "-", r.eval_top1 and ("%.2f %%"):format(r.eval_top1) or "-",
      r.images_per_s)
  end
  if self.interrupted then lines[#lines + 1] = ("stopped by %s; resume = true goes on"):format(self.interrupted) end
  return table.concat(lines, "\n")
end

-- ---- parts of a run ----

local function make_optimizer(o)
  if type(o.optimizer) == "userdata" then return o.optimizer end
  local given = {}
  for k, v in pairs(o.optimizer or {}) do given[k] = v end
  local name = given.name or "adamw"
  given.name = nil
  if name ~= "adamw" and name ~= "sgd" then
    options.raise(("train: optimizer.name must be adamw or sgd, got %s"):format(tostring(name)))
  end
  return optim[name](o.model, given)
end

--- Epochs become steps.
local function make_schedule(o, lr, batches)
  local given = {}
  for k, v in pairs(o.schedule or { kind = "constant" }) do given[k] = v end
  if given.warmup_epochs then
    given.warmup_steps = math.floor(given.warmup_epochs * batches + 0.5)
    given.warmup_epochs = nil
  end
  if given.decay_epochs then
    given.decay_steps = math.max(1, math.floor(given.decay_epochs * batches + 0.5))
    given.decay_epochs = nil
  end
  given.lr = given.lr or lr
  given.total_steps = given.total_steps or o.epochs * batches
  return optim.schedule(given)
end

local function make_loss(o)
  if type(o.loss) == "function" then return o.loss end
  local given = options.read("train: loss", o.loss, { label_smoothing = { "number", 0, 0 } })
  return function(logits, y) return core.ops.cross_entropy(logits, y, given) end
end

local function call(callbacks, name, ...)
  local f = callbacks and callbacks[name]
  if f then return f(...) end
end

-- ---- the loop ----

local Trainer = {}
Trainer.__index = Trainer

--- One batch: forward, backward, update. Weights stay untouched when the loss is not finite.
function Trainer:step(x, y)
  local o, at = self.o, self.at
  self.optimizer.lr = self.schedule(self.optimizer.steps)
  self.optimizer:zero_grad()
  local logits <close> = o.model(x)
  local loss <close> = self.loss(logits, y)
  local value = loss:item()
  if value ~= value or math.abs(value) == math.huge then
    error(("train: the loss is %s at epoch %d, batch %d; the weights are those before this batch")
      :format(value, at.epoch, at.batch + 1), 0)
  end
  loss:backward()
  if o.clip_grad then optim.clip_grad_norm(o.model, o.clip_grad) end
  self.optimizer:step()
  local n = y:size(1)
  at.batch = at.batch + 1
  at.seen = at.seen + n
  at.loss = at.loss + value * n
  at.hits = at.hits + (y:dtype() == "int32" and core.topk_hits(logits, y, 1) or 0)
  return n, value
end

--- The state of the run, when there is a folder for it.
function Trainer:save()
  if not self.run then return end
  self.at.rows = self.history_rows()
  self.run:save_state(self.o.model, self.optimizer, self.at)
  self.saved = core.clock()
end

--- The batches of the epoch that are left. False when a signal came.
function Trainer:train_epoch()
  local o, at = self.o, self.at
  local bar = progress.new(("epoch %d/%d"):format(at.epoch, o.epochs), o.train:size(),
    { quiet = not o.progress, done = at.seen })
  o.model:train()
  local began = core.clock()
  for x, y in o.train:epoch(at.epoch, at.batch + 1) do
    local n, loss = self:step(x, y)
    bar:advance(n, ("loss %.4f  top-1 %.2f %%"):format(at.loss / at.seen, 100 * at.hits / at.seen))
    call(o.callbacks, "step", { epoch = at.epoch, batch = at.batch, loss = loss, lr = self.optimizer.lr })
    if core.signal_seen() then
      at.seconds = at.seconds + core.clock() - began
      return false
    end
    if self.run and core.clock() - self.saved > 60 * o.save_minutes then self:save() end
  end
  at.seconds = at.seconds + core.clock() - began
  if at.seen == 0 then error("train: the training loader gave no batch", 0) end
  bar:finish()
  return true
end

--- What the history says of the epoch that ends; result as evaluate gives it, or nil.
function Trainer:row(result)
  local at = self.at
  return {
    epoch = at.epoch, lr = self.optimizer.lr, seconds = at.seconds, images_per_s = at.seen / math.max(at.seconds, 1e-9),
    train_loss = at.loss / at.seen, train_top1 = 100 * at.hits / at.seen,
    eval_loss = result and result.loss, eval_top1 = result and result.top1, eval_top5 = result and result.top5,
  }
end

--- Evaluate, log, keep the weights. False when a signal came.
function Trainer:end_epoch()
  local o, at, history = self.o, self.at, self.history
  local result
  if o.val then
    result = evaluate(o.model, o.val, { progress = o.progress, label = "         ", stop = core.signal_seen })
    if not result then return false end
  end
  local row = self:row(result)
  history[#history + 1] = show.record(row)
  local best = not at.best or (row.eval_top1 or -row.train_loss) > at.best
  if best then at.best = row.eval_top1 or -row.train_loss end
  at.epoch, at.batch, at.seen, at.loss, at.hits, at.seconds = at.epoch + 1, 0, 0, 0.0, 0, 0.0
  if self.run then
    local about = { epoch = tostring(row.epoch), eval_top1 = row.eval_top1 and tostring(row.eval_top1) or "" }
    self.run:log(row)
    self.run:write_summary(history)
    self.run:save_weights("last.safetensors", o.model, about)
    if best then self.run:save_weights("best.safetensors", o.model, about) end
    self:save()
  end
  call(o.callbacks, "epoch", row, history)
  return true
end

--- All epochs that are left, or until a signal.
function Trainer:loop()
  while self.at.epoch <= self.o.epochs do
    if not (self:train_epoch() and self:end_epoch()) then
      self.history.interrupted = core.signal_seen()
      self:save()
      return
    end
  end
end

-- ---- the beginning ----

local function check(o)
  if not o.model then options.raise("train: model is required") end
  options.check_module("train", o.model)
  if not o.train then options.raise("train: train (a loader) is required") end
  for _, name in ipairs({ "train", "val" }) do
    if o[name] and type(o[name].epoch) ~= "function" then
      options.raise(("train: %s must be a loader (pelk.data.loader)"):format(name))
    end
  end
  for name in pairs(o.callbacks or {}) do
    if name ~= "step" and name ~= "epoch" then
      options.raise(("train: no callback '%s'; there are step and epoch"):format(tostring(name)))
    end
  end
  if o.resume and not o.out then options.raise("train: resume needs out, the folder of the run") end
end

local function config_of(o, optimizer)
  local config = {}
  for k, v in pairs(o) do if k ~= "model" and k ~= "callbacks" and k ~= "resume" then config[k] = v end end
  config.model = o.model:options()
  config.optimizer = tostring(optimizer)
  config.pelk = core.config()
  return config
end

local function open_run(o)
  if not o.out then return nil end
  local run, message = Run.open(o.out)
  if not run then options.raise("train: " .. message) end
  if run:has_state() and not o.resume then
    options.raise(("train: %s holds a run already: resume = true goes on with it; another out, or removing the folder, "
      .. "begins a new one"):format(o.out))
  end
  return run
end

local function begin(given)
  local o = options.read("train", given, rules)
  check(o)
  if o.seed then core.manual_seed(o.seed) end
  local history = setmetatable({}, History)
  local self = setmetatable({ o = o, history = history, run = open_run(o), loss = make_loss(o), saved = core.clock(),
    at = { epoch = 1, batch = 0, seen = 0, loss = 0.0, hits = 0, seconds = 0.0 } }, Trainer)
  self.optimizer = make_optimizer(o)
  self.schedule = make_schedule(o, self.optimizer.lr, o.train:batches())
  function self.history_rows()
    local rows = {}
    for i, row in ipairs(history) do rows[i] = row end
    return rows
  end
  if self.run and self.run:has_state() then
    self.at = self.run:load_state(o.model, self.optimizer)
    for i, row in ipairs(self.at.rows) do history[i] = show.record(row) end
  elseif self.run then
    self.run:write_config(config_of(o, self.optimizer))
  end
  return self
end

--- Train a classifier.
-- @tab given
--   model, train (loader); val (loader), epochs=10,
--   optimizer={name="adamw"|"sgd", lr=, weight_decay=, ...} or an Optimizer,
--   schedule={kind="cosine"|"linear"|"step"|"constant", warmup_epochs=, min_lr=, decay_epochs=, decay_rate=} (constant
--   without),
--   loss={label_smoothing=} or function(logits, y), clip_grad (largest gradient norm),
--   out (the run's folder), resume=false, save_minutes=5, seed (of everything random that the library draws),
--   callbacks={step=function(info), epoch=function(row, history)}, progress=true
-- @treturn History rows {epoch, train_loss, train_top1, eval_loss, eval_top1, eval_top5, lr, seconds, images_per_s};
--   prints as a table. interrupted is the signal's name when Ctrl-C or SIGTERM stopped it: the step is finished, the
--   state saved, and the same call with resume=true goes on bit for bit.
-- @raise for unknown options, a loss that is not finite, files that cannot be written
local function train(given)
  local self = begin(given)
  core.with_signals(function()
    local finished, message = xpcall(self.loop, function(m)
      return type(m) == "string" and not m:find("^train: ") and debug.traceback(m, 2) or m
    end, self)
    if not finished then error(message, 0) end
  end)
  local interrupted = self.history.interrupted
  if interrupted and self.o.progress then
    io.stderr:write(("stopped by %s at epoch %d, batch %d%s\n"):format(interrupted, self.at.epoch, self.at.batch,
      self.run and ("; saved in " .. self.run.dir .. ", resume = true goes on from there") or ""))
  end
  return self.history
end

return { train = train, evaluate = evaluate }
