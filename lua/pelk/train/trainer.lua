--- The loop of a run: epochs of updates, evaluation, logs, checkpoints, and the reasons to stop.
local core = require("pelk.core")
local options = require("pelk.options")
local modes = require("pelk.modes")
local progress = require("pelk.progress")
local show = require("pelk.show")
local evaluate = require("pelk.train.evaluate")
local masks = require("pelk.train.masks")
local update = require("pelk.train.update")

local Trainer = {}
Trainer.__index = Trainer

local SAVING = 0.035 -- the largest share of the time that saving by the clock may take (CheckFreq's bound)
local SCALARS_EVERY = 20 -- updates between scalars in TensorBoard's files

local function call(callbacks, name, ...)
  local f = callbacks and callbacks[name]
  if f then return f(...) end
end

-- ---- saving ----

--- A row without what is no number, which JSON cannot say: the loss of an evaluation may be anything.
local function finite_part(row)
  local out = {}
  for name, value in pairs(row) do
    if type(value) ~= "number" or options.is_finite(value) then out[name] = value end
  end
  return out
end

--- The state of the run, when there is a folder for it.
function Trainer:save()
  if not self.run then return end
  local began = core.clock()
  self.at.elapsed = self:elapsed()
  self.at.rows = {}
  for i, row in ipairs(self.history) do self.at.rows[i] = finite_part(row) end
  self.run:save_state(self, self.at)
  self.saved, self.saved_updates = core.clock(), self.at.updates
  self.save_seconds = self.saved - began
  self:note_saving(self.save_seconds)
end

function Trainer:note_saving(seconds)
  local saving = self.history.saving
  saving.seconds, saving.count = saving.seconds + seconds, saving.count + 1
  saving.share = saving.seconds / math.max(core.clock() - self.began, 1e-9)
end

--- Is it time? By updates when asked for, else by the clock, more seldom when saving is slow.
function Trainer:save_is_due()
  if not self.run then return false end
  if self.o.save_steps then return self.at.updates - self.saved_updates >= self.o.save_steps end
  return core.clock() - self.saved > math.max(60 * self.o.save_minutes, self.save_seconds / SAVING)
end

--- At an epoch's end a checkpoint is welcome, unless saving takes too much of the time already.
function Trainer:save_is_cheap()
  if self.o.save_steps then return self:save_is_due() end
  return core.clock() - self.saved > self.save_seconds / SAVING
end

--- Weights that others read: last always, best where they are.
function Trainer:publish(row, best, best_ema)
  local began = core.clock()
  local about = { epoch = tostring(row.epoch), eval_top1 = row.eval_top1 and tostring(row.eval_top1) or "" }
  local function write(suffix, is_best)
    self.run:save_weights(("last%s.safetensors"):format(suffix), self.o.model, about)
    if is_best then self.run:save_weights(("best%s.safetensors"):format(suffix), self.o.model, about) end
  end
  if self.ema_publish ~= "alone" then write("", best) end
  if self.ema then
    about.eval_top1 = row.ema_top1 and tostring(row.ema_top1) or ""
    self.ema:with(write, self.ema_publish == "alone" and "" or "_ema", best_ema)
  end
  if self.sparse then masks.save(self.sparse, self.run, { epoch = tostring(row.epoch) }) end
  self:note_saving(core.clock() - began)
end

-- ---- an epoch ----

function Trainer:elapsed() return self.elapsed_before + core.clock() - self.began end

--- Say something in the log and, where progress is shown, on standard error.
function Trainer:tell(event, text)
  if self.o.progress then io.stderr:write("\n", event, ": ", text, "\n") end
  if self.run then self.run:log({ event = event, text = text, epoch = self.at.epoch, batch = self.at.batch }) end
end

--- After numbers went bad: the newest checkpoint's weights, moments and averages; the place in the data stays.
-- @treturn string the checkpoint
function Trainer:rollback()
  local counters, path, damaged = self.run:load_state(self)
  for _, message in ipairs(damaged) do self:tell("damaged checkpoint", message) end
  self.at.updates = counters.updates
  return path
end

--- Callbacks, scalars, a checkpoint: after every update.
function Trainer:after_update()
  local at, last = self.at, self.last
  local info = { epoch = at.epoch, batch = at.batch, step = at.updates, loss = last.loss, lr = self.optimizer.lr,
    grad_norm = last.grad_norm }
  if call(self.o.callbacks, "step", info) == "stop" then self.stop = "a callback asked for it" end
  if self.board and at.updates % SCALARS_EVERY == 0 then
    assert(self.board:add(at.updates, { ["train/loss"] = last.loss, ["train/lr"] = info.lr,
      ["train/grad_norm"] = last.grad_norm }))
  end
  if self:save_is_due() then self:save() end
end

--- Does the run end here? Signals go before everything else.
function Trainer:must_stop()
  if core.signal_seen() then
    update.drop(self)
    return true
  end
  local budget = self.o.budget_minutes
  if budget and self:elapsed() > 60 * budget then
    update.drop(self)
    self.stop = ("the time budget of %g minutes is used up"):format(budget)
  end
  return self.stop ~= nil
end

function Trainer:text()
  local at = self.at
  local top1 = at.labelled > 0 and ("  top-1 %.2f %%"):format(100 * at.hits / at.labelled) or ""
  return ("loss %.4f%s  data %.0f %%"):format(at.loss / math.max(1, at.seen), top1,
    100 * at.waited / math.max(at.seconds, 1e-9))
end

--- An update is given up for what is said of it; the run ends with an error when its policy says so.
function Trainer:give_up(x, what)
  local text, fatal = update.give_up(self, x, what)
  if not text then
    self:save()
    error(fatal, 0)
  end
  self:tell("numbers that are not finite", text)
end

--- One batch and what follows from it. False when the run must end here.
function Trainer:one(x, y, number, bar)
  local before = self.at.seen
  if self.mixup then y = self.mixup:apply(x, y, self.o.train.seed, self.at.epoch, number) end
  local complete, what = update.batch(self, x, y, number)
  if complete == nil then self:give_up(x, what) end
  if complete then
    self:after_update()
    bar:advance(self.at.seen - before, self:text())
  end
  return not self:must_stop()
end

--- The loader's batches of the epoch that are left, for a loop; they end early, and `waiting.ended` says so, when a
-- signal comes and a batch does not.
local function batches(loader, at, waiting)
  local step, state, control, closing = loader:epoch(at.epoch, at.batch + 1)
  local function next_batch(...)
    local done, x, y, number = core.interruptible(step, ...)
    waiting.ended = not done
    if done then return x, y, number end
  end
  return next_batch, state, control, closing
end

local function trained(model)
  local n = 0
  for _, p in ipairs(model:parameters()) do n = n + (p.requires_grad and 1 or 0) end
  return n
end

--- What the run knows of the model's modes and frozen parts as it begins.
function Trainer:note_model()
  local model = self.o.model
  self.trained = trained(model)
  self.frozen_modes = model.training and modes.evaluating(model) or {}
end

--- The batches of the epoch that are left. False when the run must end here.
function Trainer:train_epoch()
  local o, at, waiting = self.o, self.at, {}
  local bar = progress.new(("epoch %d/%d"):format(at.epoch, o.epochs), o.train:size(),
    { quiet = not o.progress, done = at.seen })
  if trained(o.model) > self.trained then
    error("train: parameters were unfrozen within the run; its optimiser does not have them: begin another run", 0)
  end
  o.model:train()
  for _, module in ipairs(self.frozen_modes) do module:eval() end -- m.stages[1]:eval() before the run holds in it
  local began, before, waited = core.clock(), at.seconds, at.waited
  local asked = began
  for x, y, number in batches(o.train, at, waiting) do
    local now = core.clock()
    waited = waited + now - asked
    at.seconds, at.waited = before + now - began, waited
    local goes_on = self:one(x, y, number, bar)
    asked = core.clock()
    at.seconds = before + asked - began
    if not goes_on then return false end
  end
  if waiting.ended and self:must_stop() then return false end
  local finished = update.finish(self) -- a group that broken pictures left incomplete
  if finished then self:after_update() end
  if finished == false then self:give_up(nil, "the gradients are not finite") end
  if at.seen == 0 and at.skipped == 0 then error("train: the training loader gave no batch", 0) end
  bar:finish()
  return true
end

-- ---- an epoch's end ----

--- Evaluate the weights, and their averages. Nil when a signal came; false when there is nothing to evaluate on.
function Trainer:evaluate()
  local o = self.o
  if not o.val then return false end
  local given = { progress = o.progress, label = "         ", stop = core.signal_seen }
  local result = evaluate(o.model, o.val, given)
  if not result or not self.ema then return result, nil end
  given.label = "      ema"
  local averages = self.ema:with(evaluate, o.model, o.val, given)
  if not averages then return nil end
  return result, averages
end

--- What the history says of the epoch that ends; results as evaluate gives them, or nil.
function Trainer:row(result, ema)
  local at = self.at
  result, ema = result or {}, ema or {}
  return {
    epoch = at.epoch, lr = self.optimizer.lr, seconds = at.seconds, images_per_s = at.seen / math.max(at.seconds, 1e-9),
    train_loss = at.seen > 0 and at.loss / at.seen or nil,
    train_top1 = at.labelled > 0 and 100 * at.hits / at.labelled or nil,
    eval_loss = result.loss, eval_top1 = result.top1, eval_top5 = result.top5,
    ema_loss = ema.loss, ema_top1 = ema.top1, ema_top5 = ema.top5,
    grad_norm = at.normed > 0 and at.norms / at.normed or nil,
    skipped = at.skipped, wait_share = at.waited / math.max(at.seconds, 1e-9),
  }
end

--- Is the value better than the best of its name so far? Then it is the best. Nothing is not.
local function improves(at, name, value)
  if not value then return false end
  local best = at.best[name]
  if best and value <= best then return false end
  at.best[name] = value
  return true
end

function Trainer:lose_patience()
  local epochs = self.at.since_best
  if self.o.patience and epochs >= self.o.patience then
    self.stop = ("%d epochs without a better result"):format(epochs)
  end
end

--- Counts epochs without a better result, for the early stop.
function Trainer:judge(row)
  local at = self.at
  local without = row.train_loss and -row.train_loss -- when there is nothing to evaluate on
  local best = improves(at, "raw", row.eval_top1 or without)
  local best_ema = self.ema ~= nil and improves(at, "ema", row.ema_top1 or without)
  at.since_best = (best or best_ema) and 0 or at.since_best + 1
  self:lose_patience()
  return best, best_ema
end

local function next_epoch(at)
  at.epoch, at.batch, at.seen, at.loss, at.hits, at.seconds = at.epoch + 1, 0, 0, 0.0, 0, 0.0
  at.labelled, at.waited, at.norms, at.normed, at.skipped = 0, 0.0, 0.0, 0, 0
end

--- Log an epoch, publish its weights.
function Trainer:write_epoch(row, best, best_ema)
  if self.board then
    local scalars = {}
    for key, value in pairs(row) do scalars["epoch/" .. key] = value end
    assert(self.board:add(self.at.updates, scalars))
  end
  if not self.run then return end
  self.run:log(masks.log_entry(row, self.sparse))
  self.run:write_summary(self.history)
  self:publish(row, best, best_ema)
end

--- Evaluate, log, keep the weights. False when the run must end here.
function Trainer:end_epoch()
  if self:save_is_due() then self:save() end -- an evaluation may take longer than the time between checkpoints
  local result, ema = self:evaluate()
  if result == nil then return false end
  local row = self:row(result, ema)
  self.history[#self.history + 1] = show.record(row)
  local best, best_ema = self:judge(row)
  self:write_epoch(row, best, best_ema)
  next_epoch(self.at)
  if self:save_is_cheap() or self.at.epoch > self.o.epochs then self:save() end
  if call(self.o.callbacks, "epoch", row, self.history) == "stop" then self.stop = "a callback asked for it" end
  return self.stop == nil
end

--- The run ends before its last epoch: the state is saved, and weights that were not evaluated yet are.
function Trainer:end_early()
  self:save()
  self.history.interrupted = core.signal_seen()
  self.history.stopped = self.stop
  if self.history.interrupted or self.at.seen == 0 then return end
  local result, ema = self:evaluate()
  if result == nil then
    self.history.interrupted = core.signal_seen()
    return
  end
  local row = self:row(result, ema)
  self.history[#self.history + 1] = show.record(row)
  -- the epoch goes on from the state that was saved: what it is worth is judged at its end, unless nothing was yet
  local best, best_ema = false, false
  if next(self.at.best) == nil then best, best_ema = self:judge(row) end
  self:write_epoch(row, best, best_ema)
end

--- All epochs that are left, or until there is a reason to stop.
function Trainer:loop()
  if self.at.batches_seen == 0 then
    self:save()
  elseif self.at.epoch <= self.o.epochs then -- what ended the run before may end it now
    self:lose_patience()
    if self:must_stop() then return self:end_early() end
  end
  while self.at.epoch <= self.o.epochs do
    if not (self:train_epoch() and self:end_epoch()) then return self:end_early() end
  end
end

return Trainer
