--- Ending trials early that others beat: successive halving and the median rule. A pruner sees what all trials of the
-- sweep reported so far (their progress files) and never the trial's code; what it ends keeps its checkpoint.
local Journal = require("pelk.sweep.journal")
local core = require("pelk.core")
local options = require("pelk.options")

local pruner = {}

local seen = {} -- path -> {size, curve}: progress files only grow

local function curve_of(path)
  local size = core.file_stat(path)
  local known = seen[path]
  if not size then return {} end
  if not (known and known.size == size) then
    known = { size = size, curve = {} }
    for _, row in ipairs(Journal.curve(path)) do known.curve[row.epoch] = row.value end
    seen[path] = known
  end
  return known.curve
end

--- Values by trial and epoch: id -> {[epoch] = value}; better is greater whatever the goal.
function pruner.values(dir, goal)
  local out = {}
  for _, entry in ipairs(core.list_dir(dir .. "/trials") or {}) do
    local values = {}
    for epoch, value in pairs(curve_of(("%s/trials/%s/progress.jsonl"):format(dir, entry[1]))) do
      values[epoch] = goal == "min" and -value or value
    end
    if next(values) then out[entry[1]] = values end
  end
  return out
end

-- ---- successive halving ----

local Asha = {}
Asha.__index = Asha

--- Asynchronous successive halving (Li et al., MLSys 2020, algorithm 2): at min_epochs, min_epochs * reduction, ... a
-- trial goes on when it is among the best 1/reduction of those that came so far; else it is paused at its checkpoint,
-- and resumed when later results put it among them. When nothing else is left to run, the best of those that came
-- furthest goes on, so that one trial at least comes to its end. Epochs are those that are reported.
-- @tab given reduction=3, min_epochs=1, max_epochs (where a trial is through; trial:train knows its own)
function pruner.asha(given)
  local o = options.read("sweep.asha", given, { reduction = { "number", 3 }, min_epochs = { "integer", 1, 1 },
    max_epochs = { "integer", nil, 1 } })
  if not (o.reduction > 1 and o.reduction < math.huge) then
    options.raise(("sweep.asha: reduction must be above 1, got %s"):format(o.reduction))
  end
  if o.max_epochs and o.max_epochs <= o.min_epochs then
    options.raise(("sweep.asha: max_epochs must be above min_epochs, got %d and %d"):format(o.max_epochs, o.min_epochs))
  end
  return setmetatable({ kind = "asha", reduction = o.reduction, min_epochs = o.min_epochs, max_epochs = o.max_epochs },
    Asha)
end

--- Is epoch one of those at which trials are compared?
function Asha:is_rung(epoch)
  if self.max_epochs and epoch >= self.max_epochs then return false end
  local rung = self.min_epochs
  while rung < epoch do rung = math.max(rung + 1, math.floor(rung * self.reduction + 0.5)) end
  return rung == epoch
end

--- Is the trial among the best 1/reduction at this epoch?
function Asha:among_best(values, id, epoch)
  local mine, count, better = values[id][epoch], 0, 0
  for other, curve in pairs(values) do
    if curve[epoch] then
      count = count + 1
      if curve[epoch] > mine or curve[epoch] == mine and other < id then better = better + 1 end
    end
  end
  return better < math.floor(count / self.reduction)
end

function Asha:verdict(values, id, epoch)
  if self:is_rung(epoch) and not self:among_best(values, id, epoch) then return "paused" end
end

--- How far a trial came, and its value there.
local function last_of(curve)
  local last = 0
  for epoch in pairs(curve or {}) do last = math.max(last, epoch) end
  return last, curve and curve[last]
end

--- Does a trial that came to (epoch, value) go before one at (other_epoch, other_value)?
local function further(epoch, value, other_epoch, other_value)
  if epoch ~= other_epoch then return epoch > other_epoch end
  return other_value == nil or value ~= nil and value > other_value
end

--- The paused trial to resume, if there is one: of those now among the best, the one that came furthest.
-- @tab paused ids, sorted
-- @bool idle nothing else is left to run: then one of them in any case, unless a trial came further
function Asha:promote(values, paused, idle)
  local best, best_epoch, best_value
  for _, id in ipairs(paused) do
    local epoch, value = last_of(values[id])
    local earned = idle or value == nil or self:among_best(values, id, epoch)
    if earned and (not best or further(epoch, value, best_epoch, best_value)) then
      best, best_epoch, best_value = id, epoch, value
    end
  end
  if not (best and idle) then return best end
  for id, curve in pairs(values) do
    if id ~= best and last_of(curve) > best_epoch then return nil end
  end
  return best
end

-- ---- the median rule ----

local Median = {}
Median.__index = Median

--- The median rule (Golovin et al., KDD 2017, section 3.2.2): from epoch `warmup` on a trial is stopped when its best
-- value so far is below the median of the other trials' means up to that epoch.
-- @tab given warmup=1 (epochs), min_trials=3 (others that must have come that far)
function pruner.median(given)
  local o = options.read("sweep.median", given, { warmup = { "integer", 1, 1 }, min_trials = { "integer", 3, 1 } })
  o.kind = "median"
  return setmetatable(o, Median)
end

local function mean_until(curve, epoch)
  local sum, n = 0, 0
  for e, value in pairs(curve) do
    if e <= epoch then sum, n = sum + value, n + 1 end
  end
  return sum / n
end

function Median:verdict(values, id, epoch)
  if epoch < self.warmup then return end
  local means, best = {}, -math.huge
  for other, curve in pairs(values) do
    if other ~= id and curve[epoch] then means[#means + 1] = mean_until(curve, epoch) end
  end
  if #means < self.min_trials then return end
  for _, value in pairs(values[id]) do best = math.max(best, value) end
  table.sort(means)
  local middle = (means[(#means + 1) // 2] + means[#means // 2 + 1]) / 2
  if best < middle then return "stopped" end
end

--- It pauses none: what another pruner paused goes on.
function Median.promote(_, _, paused) return paused[1] end

-- ---- across processes ----

local kinds = { asha = pruner.asha, median = pruner.median }

--- A pruner again from its plain form in config.json.
function pruner.of(plain)
  if not plain then return nil end
  local given = {}
  for key, value in pairs(plain) do if key ~= "kind" then given[key] = value end end
  return kinds[plain.kind](given)
end

--- Is it one? For the check of options.
function pruner.is(p)
  local mt = getmetatable(p)
  return mt == Asha or mt == Median
end

return pruner
