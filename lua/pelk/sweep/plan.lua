--- What a sweep would do, without doing it: every trial with its size and a time estimated from measured steps.
local core = require("pelk.core")
local cost = require("pelk.cost")
local optim = require("pelk.optim")
local options = require("pelk.options")
local ops = require("pelk.ops")
local progress = require("pelk.progress")
local show = require("pelk.show")
local here = require("pelk.sweep.here")
local space = require("pelk.sweep.space")
local Sampled = require("pelk.train.sampling")

local plan = {}

-- ---- what a trial would train ----

--- What ends an objective that got as far as its training.
local enough = setmetatable({}, { __tostring = function() return "the plan knows enough" end })

--- Stands for a trial: takes note of what would be trained.
local Rehearsal = {}
Rehearsal.__index = Rehearsal

function Rehearsal:train(given)
  options.check_module("trial:train", given.model)
  if type(given.train) ~= "table" or not given.train.shape then options.raise("trial:train: train must be a loader") end
  local shape, epochs = given.train:shape(), given.epochs or 10
  local images = Sampled.images_of(given.sampling, given.train:size())
  self.work = { model = given.model, shape = shape, images = epochs * images,
    tests = given.val and epochs * given.val:size() or 0 }
  error(enough, 0)
end

function Rehearsal:model(m, given)
  options.check_module("trial", m)
  self.work = self.work or { model = m, shape = cost.input("trial", m, options.read("trial", given, cost.rules)) }
end

function Rehearsal.report() error(enough, 0) end
Rehearsal.finish = Rehearsal.report

--- Call the objective up to its training. Nil, message when it fails before.
local function rehearse(trial, objective)
  local rehearsal = setmetatable({ id = trial.id, params = space.copy(trial.params), folder = trial.folder }, Rehearsal)
  local before = here.current
  here.current = rehearsal
  local ok, message = pcall(objective, rehearsal.params, rehearsal)
  here.current = before
  if rehearsal.work or ok or message == enough then return rehearsal.work or {} end
  return nil, here.utf8_text(tostring(message))
end

local rules = { model = { "userdata" }, image_size = { "integer|table", 224 }, channels = { "integer" },
  images = { "integer", nil, 1 }, batch = { "integer", 32, 1 } }

--- The same from what plan(params) says.
local function said(trial, f)
  local given = options.read("sweep: plan", f(space.copy(trial.params)), rules)
  options.check_module("sweep: plan", given.model)
  return { model = given.model, images = given.images, tests = 0, shape = cost.input("sweep: plan", given.model,
    { image_size = given.image_size, channels = given.channels, batch = given.batch }) }
end

-- ---- time ----

local LONG = 2 -- seconds

--- Seconds of f(): the faster of two after a first, or the first when it is long.
local function fastest(f)
  local best = math.huge
  for i = 1, 3 do
    local began = core.clock()
    f()
    local seconds = core.clock() - began
    if i == 1 and seconds > LONG then return seconds end
    if i > 1 then best = math.min(best, seconds) end
  end
  return best
end

--- Seconds of a training step on n images; the model is changed by it.
local function step_seconds(model, optimizer, shape, n)
  local x <close> = core.randn { n, shape[2], shape[3], shape[4] }
  local labels <close> = core.ones({ n }, { dtype = "int32" })
  return fastest(function()
    optimizer:zero_grad()
    local loss <close> = ops.cross_entropy(model(x), labels)
    loss:backward()
    optimizer:step()
  end)
end

local function forward_seconds(model, shape, n)
  local x <close> = core.randn { n, shape[2], shape[3], shape[4] }
  model:eval()
  local seconds = fastest(function() core.no_grad(model, x):free() end)
  model:train()
  return seconds
end

--- Seconds an image, of training and of evaluation: steps of the batch's size, or of so few images that one takes a
-- second.
local function measure(model, shape)
  model:train()
  local optimizer = optim.sgd(model, { lr = 1e-6 })
  local n = math.min(2, shape[1])
  local first = step_seconds(model, optimizer, shape, n)
  local most = math.max(n, math.min(shape[1], math.floor(n / math.max(first, 1e-6))))
  local step = most > n and step_seconds(model, optimizer, shape, most) or first
  return { train = step / most, test = forward_seconds(model, shape, most) / most }
end

-- ---- the plan ----

local Plan = {}

function Plan:__tostring()
  local cells = { { table.unpack(self.columns) } }
  for _, name in ipairs { "parameters", "multiply-adds", "time" } do cells[1][#cells[1] + 1] = name end
  for _, row in ipairs(self) do
    local line = {}
    for i, name in ipairs(self.columns) do line[i] = space.show_value(space.get(row.params, name)) end
    line[#line + 1] = row.parameters and cost.thousands(row.parameters) or "?"
    line[#line + 1] = row.macs and cost.short(row.macs) or "?"
    line[#line + 1] = row.seconds and progress.duration(row.seconds) or "?"
    cells[#cells + 1] = line
  end
  local lines = show.columns(cells, #self.columns)
  table.insert(lines, 2, ("-"):rep(utf8.len(lines[1])))
  for _, row in ipairs(self) do
    if row.error then lines[#lines + 1] = ("%s would fail: %s"):format(row.id, row.error:match("[^\n]*")) end
  end
  local text = ("%d trials, %d of them done, %d workers"):format(#self + self.done, self.done, self.workers)
  if self.seconds then
    text = ("%s: about %s by steps measured now"):format(text, progress.duration(self.seconds))
  elseif #self > 0 then
    text = text .. "; times come from objectives that call trial:train, or plan = function(params) -> {model = ...}"
  end
  lines[#lines + 1] = text
  return table.concat(lines, "\n")
end

--- Fill a row's sizes and time; models that cost the same are measured once.
local function fill(row, work, measured)
  if not work.model then return end
  local shape = work.shape
  local ok, count = pcall(cost.count, work.model, { input = { 1, shape[2], shape[3], shape[4] } })
  if not ok then
    row.error = count
    return
  end
  row.parameters, row.macs = count.params, count.macs_run
  if not work.images then return end
  local key = table.concat({ count.params, count.macs_run, table.concat(shape, ",") }, " ")
  if not measured[key] then
    local fine, times = pcall(measure, work.model, shape)
    if not fine then
      row.error = here.utf8_text(tostring(times))
      return
    end
    measured[key] = times
  end
  row.seconds = measured[key].train * work.images + measured[key].test * work.tests
end

--- The plan of the trials that are left.
-- @tab trials
-- @tab o columns, done, workers, threads; objective (called up to its trial:train), or plan = function(params) ->
--   {model, image_size=224, channels, images (seen in all epochs), batch=32}
-- @treturn table rows {id, params, parameters, macs, seconds, error}; done, workers, seconds of all; prints as a table
function plan.make(trials, o)
  local out, measured, sum, known = { columns = o.columns, done = o.done, workers = o.workers }, {}, 0, true
  local threads = core.threads()
  core.set_threads(o.threads)
  local ok, message = pcall(function()
    for i, trial in ipairs(trials) do
      local row, work = { id = trial.id, params = trial.params }
      if o.plan then work = said(trial, o.plan) else work, row.error = rehearse(trial, o.objective) end
      if work then fill(row, work, measured) end
      sum, known = sum + (row.seconds or 0), known and row.seconds ~= nil
      out[i] = row
    end
  end)
  core.set_threads(threads)
  if not ok then error(message, 0) end
  if sum > 0 then out.seconds = sum / math.min(o.workers, math.max(1, #trials)) end
  return setmetatable(out, Plan)
end

return plan
