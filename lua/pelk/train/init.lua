--- Training a classifier.
-- @module pelk.train

local core = require("pelk.core")
local options = require("pelk.options")
local show = require("pelk.show")
local History = require("pelk.train.history")
local Run = require("pelk.train.run")
local Sampled = require("pelk.train.sampling")
local Trainer = require("pelk.train.trainer")
local evaluate = require("pelk.train.evaluate")
local masks = require("pelk.train.masks")
local parts = require("pelk.train.parts")
local sparse = require("pelk.sparse")
local tensorboard = require("pelk.train.tensorboard")
local update = require("pelk.train.update")

local rules = {
  model = { "userdata" },
  train = { "table" },
  val = { "table" },
  epochs = { "integer", 10, 1 },
  optimizer = { "table|userdata" },
  schedule = { "table|function" },
  loss = { "function|table" },
  accumulate = { "integer", 1, 1 },
  clip_grad = { "number" },
  ema = { "table|boolean" },
  sparse = { "table" },
  sampling = { "table|boolean" },
  mixup = { "table|boolean" },
  nonfinite = { "string", "stop" },
  out = { "string" },
  resume = { "boolean", false },
  seed = { "integer" },
  callbacks = { "table" },
  save_minutes = { "number", 5, 0 },
  save_steps = { "integer", nil, 1 },
  keep = { "integer", 3, 1 },
  patience = { "integer", nil, 1 },
  budget_minutes = { "number", nil, 0 },
  tensorboard = { "boolean", false },
  progress = { "boolean", true },
}

local policies = { stop = true, skip = true, rollback = true }

-- ---- the beginning ----

local function check_loaders(o)
  for _, name in ipairs({ "train", "val" }) do
    for _, method in ipairs { "epoch", "batches", "size" } do -- a loader of one's own has these three
      if o[name] and type(o[name][method]) ~= "function" then
        options.raise(("train: %s must be a loader (pelk.data.loader), which has epoch, batches and size"):format(name))
      end
    end
  end
  local ours, theirs = o.train.classes, o.val and o.val.classes
  if type(ours) == "table" and type(theirs) == "table" then
    for i = 1, math.max(#ours, #theirs) do
      if ours[i] ~= theirs[i] then
        options.raise(("train: class %d is %s in train and %s in val"):format(i, ours[i] or "missing",
          theirs[i] or "missing"))
      end
    end
  end
end

local function check_folder(o)
  for _, name in ipairs({ "resume", "tensorboard" }) do
    if o[name] and not o.out then options.raise(("train: %s needs out, the folder of the run"):format(name)) end
  end
  if not policies[o.nonfinite] then
    options.raise(("train: nonfinite must be stop, skip or rollback, got %s"):format(o.nonfinite))
  end
  if o.nonfinite == "rollback" and not o.out then
    options.raise("train: nonfinite = \"rollback\" needs out, the folder with the checkpoints")
  end
end

local function check(o)
  if not o.model then options.raise("train: model is required") end
  options.check_module("train", o.model)
  if not o.train then options.raise("train: train (a loader) is required") end
  check_loaders(o)
  for name in pairs(o.callbacks or {}) do
    if name ~= "step" and name ~= "epoch" then
      options.raise(("train: no callback '%s'; there are step and epoch"):format(tostring(name)))
    end
  end
  if o.clip_grad and not (options.is_finite(o.clip_grad) and o.clip_grad > 0) then
    options.raise(("train: clip_grad must be above 0, got %s"):format(o.clip_grad))
  end
  check_folder(o)
end

local function config_of(o, optimizer)
  local config = {}
  for k, v in pairs(o) do if k ~= "model" and k ~= "callbacks" and k ~= "resume" then config[k] = v end end
  config.model = o.model:options()
  if type(o.optimizer) ~= "table" then config.optimizer = tostring(optimizer) end
  config.pelk = core.config()
  return config
end

local function open_run(o)
  if not o.out then return nil end
  local run, message = Run.open(o.out, o.keep)
  if not run then options.raise("train: " .. message) end
  if run:has_state() and not o.resume then
    options.raise(("train: %s holds a run already: resume = true goes on with it; another out, or removing the folder, "
      .. "begins a new one"):format(o.out))
  end
  return run
end

local function fresh()
  return { epoch = 1, batch = 0, batches_seen = 0, updates = 0, normed = 0, seen = 0, labelled = 0, loss = 0.0,
    hits = 0, norms = 0.0, skipped = 0, seconds = 0.0, waited = 0.0, elapsed = 0.0, since_best = 0, best = {} }
end

--- Go on from the newest checkpoint that is whole.
local function resume(self)
  local at, path, damaged = self.run:load_state(self)
  if at.epoch_batches ~= self.batches or at.accumulate ~= self.o.accumulate then
    error(("train: cannot resume from %s: it had %d batches an epoch and accumulated %d, now there are %d and %d")
      :format(path, at.epoch_batches, at.accumulate, self.batches, self.o.accumulate), 0)
  end
  for name, value in pairs(fresh()) do if at[name] == nil then at[name] = value end end -- of an older version
  self.at, self.elapsed_before = at, at.elapsed
  for i, row in ipairs(at.rows) do self.history[i] = show.record(row) end
  self.run:rewind_log(at.epoch)
  local changes = self.run:changes(config_of(self.o, self.optimizer))
  if #changes > 0 then self:tell("goes on with other settings than it was begun with", table.concat(changes, "; ")) end
  for _, message in ipairs(damaged) do self:tell("damaged checkpoint, an older one is used", message) end
end

--- What follows the masks; they come off the model again when it fails.
local function begin_run(self)
  local o = self.o
  self.ema, self.ema_publish = parts.ema(o)
  if self.run and self.run:has_state() then
    resume(self)
  elseif self.run then
    self.run:write_config(config_of(o, self.optimizer))
  end
  self.saved_updates = self.at.updates
  self.at.epoch_batches, self.at.accumulate = self.batches, o.accumulate
  if o.tensorboard then self.board = assert(tensorboard.open(o.out .. "/tensorboard")) end
  update.begin(self)
  self:note_model()
end

local function begin(given)
  local o = options.read("train", given, rules)
  check(o)
  if o.seed then core.manual_seed(o.seed) end
  local loss, sampling = parts.loss(o), Sampled.begin(o)
  if sampling then
    o.train, loss = sampling, function(logits, y) return sampling:loss(logits, y) end
  end
  local self = setmetatable({ o = o, model = o.model, run = open_run(o), loss = loss, sampling = sampling,
    mixup = parts.mixup(o),
    history = History.new(), batches = o.train:batches(), at = fresh(), began = core.clock(), saved = core.clock(),
    elapsed_before = 0.0, saved_updates = 0, save_seconds = 0.0 }, Trainer)
  self.history.saving = { seconds = 0.0, count = 0, share = 0.0 }
  local updates = (self.batches + o.accumulate - 1) // o.accumulate
  parts.schedule(o, 1e-3, updates) -- what is wrong with it is said before an optimiser takes the parameters over
  self.optimizer = parts.optimizer(o)
  self.base_lr = self.optimizer.lr
  self.schedule = parts.schedule(o, self.base_lr, updates)
  self.sparse = masks.begin(o, self.run and self.run:has_state())
  self.history.sparse = self.sparse
  local ok, message = pcall(begin_run, self)
  if not ok then
    if self.sparse and self.sparse ~= o.sparse then sparse.detach(o.model) end
    error(message, 0)
  end
  return self
end

-- ---- the whole ----

local function say_interrupted(self)
  local interrupted = self.history.interrupted
  if not (interrupted and self.o.progress) then return end
  io.stderr:write(("stopped by %s at epoch %d, batch %d%s\n"):format(interrupted, self.at.epoch, self.at.batch,
    self.run and ("; saved in " .. self.run.dir .. ", resume = true goes on from there") or ""))
end

--- Train a classifier.
-- @tab given
--   model, train (loader); val (loader), epochs=10,
--   optimizer={name="adamw"|"sgd"|"lamb", lr=, weight_decay=, layer_decay=, ...} or an Optimizer,
--   schedule=function(step) -> lr (steps are updates, from 0; as optim.schedule gives), or
--   {kind="cosine"|"linear"|"step"|"constant", warmup_epochs=, min_lr=, decay_epochs=, decay_rate=} (constant without),
--   by updates,
--   loss={label_smoothing=, weight=} (weight of each class: a tensor {K}, a list, or "balanced": those that make the
--   training set's classes count alike) or function(logits, y, x), accumulate=1 (batches an update),
--   clip_grad (largest norm of all gradients), ema={decay=0.9999, warmup=false, publish="beside"|"alone"} (averages of
--   the weights: last_ema and best_ema beside last and best, or in their place),
--   sparse (what sparse.attach gives, or options for it: total_steps
--   is the run's then, and SNIP gets the first batch, snip_batches=n: the first n; history.sparse is the masks' object,
--   log.jsonl has its report, last.sparse.safetensors is the compact file),
--   sampling={keep=0.5, uniform=0.5} (true: these): importance sampling. An epoch is this share of the images, drawn by
--   their last losses, `uniform` of the probability regardless of them; weights make up for it in the loss, and the
--   training accuracy is that of what was drawn,
--   mixup={mixup_alpha=0.8, cutmix_alpha=1, prob=1, switch_prob=0.5, label_smoothing=0.1} (options of data.mixup, or
--   what it gives; true: these): labels become soft targets,
--   nonfinite="stop"|"skip"|"rollback": what follows a loss or gradient that is NaN or infinite. The weights never take
--   it in; the module is named. "skip" goes on with the next batch; "rollback" goes back to the newest checkpoint's
--   weights and passes over the batches since (more than ten such updates in a row end the run),
--   patience (epochs without a better top-1 before it stops), budget_minutes (of all its parts together),
--   out (the run's folder), resume=false, save_minutes=5 or save_steps (updates), keep=3 (checkpoints),
--   tensorboard=false (event files in out/tensorboard), seed (of what the model draws: drop path, masks; a
--   loader has its own, of order and transforms),
--   callbacks={step=function(info), epoch=function(row, history)} ("stop" as result ends the run), progress=true
-- @treturn History rows {epoch, train_loss, train_top1, eval_loss, eval_top1, eval_top5, ema_loss, ema_top1, ema_top5,
--   lr, grad_norm, skipped, wait_share (of the time, for data), seconds, images_per_s}; prints as a table. interrupted
--   is the signal's name when Ctrl-C, SIGTERM or SIGUSR1 stopped it: the state is saved, and the same call with
--   resume=true goes on bit for bit. stopped says why it ended before its last epoch. saving={seconds, count, share}.
-- @raise for unknown options, numbers that are not finite, files that cannot be written
local function train(given)
  local self = begin(given)
  core.with_signals(function()
    local finished, message = xpcall(self.loop, function(m)
      return type(m) == "string" and not m:find("^train: ") and debug.traceback(m, 2) or m
    end, self)
    self.optimizer.lr = self.base_lr -- the next run of this optimiser begins where this one did
    if self.board then self.board:close() end
    if not finished then error(message, 0) end
  end)
  say_interrupted(self)
  return self.history
end

return { train = train, evaluate = evaluate }
