--- One trial: its parameters, its folder, and how an objective tells what it reached.
--
--     dir/trials/ID/  config.json    parameters, and how the trial is run
--                     progress.jsonl one line a report; locked by the process that runs the trial
--                     summary.csv    the same as a table
--                     result.json    how it ended
--                     log.txt        when it began and how it ended; what a process of its own printed
--                     run/           the folder of Trial:train; run-2, run-3 ... of an objective's further ones
local core = require("pelk.core")
local cost = require("pelk.cost")
local json = require("pelk.json")
local options = require("pelk.options")
local train = require("pelk.train").train
local Journal = require("pelk.sweep.journal")
local pruner = require("pelk.sweep.pruner")

local Trial = {}
Trial.__index = Trial
Trial.__name = "pelk.Trial"

--- What unwinds an objective that must not go on: state is "paused", "stopped" or "waiting" (a signal came).
local Ended = { __tostring = function(e) return "the trial is " .. e.state end }
function Trial.ended(e) return getmetatable(e) == Ended and e.state or nil end
function Trial.end_as(state) return setmetatable({ state = state }, Ended) end

local LOCK_TRIES, LOCK_PAUSE = 4, 0.02 -- a sweep looks for a moment whether a trial is free

--- The progress file, for this process alone.
local function lock(path)
  for try = 1, LOCK_TRIES do
    local file, why, taken = core.journal(path)
    if file or not taken or try == LOCK_TRIES then return file, why, taken end
    core.sleep(LOCK_PAUSE)
  end
end

--- Begin, or go on with, a trial in a folder.
-- @tab o id, params, folder; dir (of the sweep), goal, metric, pruner, threads
-- @treturn Trial or nil, message, "taken" when another process runs it
function Trial.open(o)
  local ok, message = core.make_dir(o.folder)
  if not ok then return nil, message end
  local path = o.folder .. "/progress.jsonl"
  local file, why, taken = lock(path)
  if not file then return nil, why, taken end
  local self = setmetatable({ id = o.id, params = o.params, folder = o.folder, threads = o.threads, dir = o.dir,
    goal = o.goal or "max", metric = o.metric, pruner = o.pruner, file = file, metrics = {},
    curve = Journal.curve(path) }, Trial)
  for name, value in pairs(self.curve[#self.curve] or {}) do
    if name ~= "epoch" and name ~= "value" then self.metrics[name] = value end
  end
  return self
end

local function check_finite(name, value)
  if not options.is_finite(value) then
    error(("trial: %s must be a finite number, got %s"):format(name, tostring(value)), 0)
  end
end

local reserved = { epoch = true, value = true }

--- Numbers that are finite, by name; raises for other values.
function Trial:add_metrics(metrics)
  if metrics ~= nil and type(metrics) ~= "table" then
    options.raise(("trial: metrics must be a table of numbers, got %s"):format(type(metrics)))
  end
  for name, value in pairs(metrics or {}) do
    if type(name) ~= "string" or not utf8.len(name) then options.raise("trial: metrics are numbers by name") end
    if reserved[name] then options.raise(("trial: a metric cannot be called %s"):format(name)) end
    check_finite(name, value)
    self.metrics[name] = value
  end
end

--- A line of the progress file, which is on the disk then.
local function append(self, epoch, value, metrics)
  local row = { epoch = epoch, value = value }
  for name, number in pairs(metrics or {}) do row[name] = number end
  local ok, message = self.file:append(json.encode(row))
  if not ok then error("sweep: " .. message, 0) end
  return row
end

--- Tell how far the trial is.
-- @int epoch
-- @number value what the sweep compares
-- @tab[opt] metrics other numbers by name
-- @treturn string "stop" when the trial should end here (its pruner, or a signal): keep a checkpoint and return
function Trial:report(epoch, value, metrics)
  if not math.tointeger(epoch) then
    options.raise(("report: epoch must be an integer, got %s"):format(tostring(epoch)))
  end
  check_finite("value", value)
  self:add_metrics(metrics)
  local row = append(self, math.tointeger(epoch), value, metrics)
  while #self.curve > 0 and self.curve[#self.curve].epoch >= row.epoch do table.remove(self.curve) end
  self.curve[#self.curve + 1] = row
  if self.pruner then
    self.verdict = self.pruner:verdict(pruner.values(self.dir, self.goal), self.id, row.epoch)
  end
  if core.signal_seen() then self.verdict = "waiting" end
  return self.verdict and "stop" or nil
end

--- How large a model is: parameters and multiply-adds (those that pelk executes), for the table and the report.
-- @tparam Module m
-- @tab given image_size, channels, as of m:count
function Trial:model(m, given)
  options.check_module("trial", m)
  local count = cost.count(m, given)
  self:add_metrics { params = count.params, macs = count.macs_run }
end

--- The value of a row of pelk.train: the metric asked for, or the best estimate of accuracy that there is.
local function value_of(self, row)
  if self.metric then
    if not row[self.metric] then
      error(("sweep: the metric is %s, but the run has none: rows have epoch, train_loss, eval_top1, ..."):format(
        self.metric), 0)
    end
    return row[self.metric]
  end
  local value
  if self.goal == "min" then value = row.ema_loss or row.eval_loss or row.train_loss
  else value = row.ema_top1 or row.eval_top1 or row.train_top1 end
  return value or error("sweep: the run has no accuracy to compare: give trial:train a val, or the sweep a metric", 0)
end

local function metrics_of(row)
  return { top1 = row.ema_top1 or row.eval_top1, top5 = row.ema_top5 or row.eval_top5,
    loss = row.ema_loss or row.eval_loss, train_loss = row.train_loss, images_per_second = row.images_per_s }
end

local function count_model(self, o)
  if type(o.model) ~= "userdata" or type(o.train) ~= "table" or not o.train.shape then return end -- train will say
  local shape = o.train:shape()
  shape[1] = 1
  pcall(self.model, self, o.model, { input = shape }) -- a model that cannot be counted can be trained
end

--- Report the epochs before `limit` that were trained but not told, because a kill fell between the checkpoint and the
-- report. They come before any later one: a report takes back those of later epochs.
-- @int before epochs of the objective's trainings before this one
local function report_missing(self, history, limit, before)
  for _, row in ipairs(history) do
    local last, epoch = self.curve[#self.curve], before + row.epoch
    if row.epoch < limit and not (last and last.epoch >= epoch) then
      self.curve[#self.curve + 1] = append(self, epoch, value_of(self, row), metrics_of(row))
      self:add_metrics(metrics_of(row))
    end
  end
end

--- pelk.train in the trial's folder: what was begun goes on from its checkpoint, every epoch is reported, a pruner's
-- word and signals end it with its state saved (the objective does not return then: the trial goes on another time).
-- An objective may train more than once (folds, stages): each time has a folder of its own, and epochs count on.
-- @tab given options of pelk.train except out and resume
-- @treturn History
function Trial:train(given)
  local o = {}
  for key, value in pairs(given) do o[key] = value end
  if o.out or o.resume ~= nil then options.raise("trial:train: out and resume are the sweep's") end
  local before = self.trained or 0
  self.trainings, self.trained = (self.trainings or 0) + 1, before + (o.epochs or 10)
  o.out = self.folder .. (self.trainings == 1 and "/run" or "/run-" .. self.trainings)
  o.resume, o.callbacks = true, {}
  if o.progress == nil then o.progress = not self.quiet end
  local epoch
  for name, f in pairs(given.callbacks or {}) do
    if name == "epoch" then epoch = f else o.callbacks[name] = f end
  end
  function o.callbacks.epoch(row, history)
    local asked = epoch and epoch(row, history)
    report_missing(self, history, row.epoch, before)
    local verdict = self:report(before + row.epoch, value_of(self, row), metrics_of(row))
    if row.epoch >= (o.epochs or 10) then self.verdict = nil end -- there is nothing left to save by stopping
    return self.verdict and verdict or asked
  end
  count_model(self, o)
  self.training = true
  local ok, history = pcall(train, o)
  self.training = nil
  if not ok then error(history, 0) end
  report_missing(self, history, math.huge, before)
  if history.interrupted then self.verdict = "waiting" end
  if self.verdict then error(Trial.end_as(self.verdict)) end
  return history
end

--- What a script reached in the end, where it is not its last report.
function Trial:finish(value, metrics)
  check_finite("value", value)
  self:add_metrics(metrics)
  self.final = value
end

--- The columns that some row has, epoch and value first.
local function columns_of(curve)
  local names, seen = {}, { epoch = true, value = true }
  for _, row in ipairs(curve) do
    for name in pairs(row) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  table.insert(names, 1, "value")
  table.insert(names, 1, "epoch")
  return names
end

--- summary.csv: the reports as a table.
function Trial:write_summary()
  local names = columns_of(self.curve)
  local lines = { table.concat(names, ",") }
  for _, row in ipairs(self.curve) do
    local cells = {}
    for i, name in ipairs(names) do cells[i] = row[name] and ("%.10g"):format(row[name]) or "" end
    lines[#lines + 1] = table.concat(cells, ",")
  end
  return core.write_file(self.folder .. "/summary.csv", table.concat(lines, "\n") .. "\n")
end

function Trial:close() self.file:close() end

function Trial:__tostring()
  return ("trial %s: %s"):format(self.id, json.encode(self.params))
end

return Trial
