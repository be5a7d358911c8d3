--- Ending trials early that others beat: successive halving and the median rule. A pruner sees what all trials of the
-- sweep reported so far (their progress files) and never the trial's code; what it ends keeps its checkpoint.
local Journal = require("pelk.sweep.journal")
local core = require("pelk.core")
local options = require("pelk.options")

local pruner = {}

--- Values by trial and epoch: id -> {[epoch] = value}; better is greater whatever the goal.
function pruner.values(dir, goal)
  local out = {}
  for _, entry in ipairs(core.list_dir(dir .. "/trials") or {}) do
    local curve = {}
    for _, line in ipairs(Journal.lines(("%s/trials/%s/progress.jsonl"):format(dir, entry[1]))) do
      if math.type(line.epoch) and math.type(line.value) then
        curve[line.epoch] = goal == "min" and -line.value or line.value
      end
    end
    if next(curve) then out[entry[1]] = curve end
  end
  return out
end

-- ---- successive halving ----

local Asha = {}
Asha.__index = Asha

--- Asynchronous successive halving (Li et al., MLSys 2020, algorithm 2): at min_epochs, min_epochs * reduction, ... a
-- trial goes on when it is among the best 1/reduction of those that came so far; else it is paused at its checkpoint,
-- and resumed when later results put it among them.
-- @tab given reduction=3, min_epochs=1, max_epochs (where a trial is through; trial:train knows its own)
function pruner.asha(given)
  local o = options.read("sweep.asha", given, { reduction = { "number", 3 }, min_epochs = { "integer", 1, 1 },
    max_epochs = { "integer", nil, 1 } })
  if o.reduction <= 1 then
    options.raise(("sweep.asha: reduction must be above 1, got %s"):format(o.reduction))
  end
  o.kind = "asha"
  return setmetatable(o, Asha)
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

--- The paused trial to resume, if there is one: of those now among the best, the one that came furthest.
-- @tab paused ids
function Asha:promote(values, paused)
  local best, best_epoch = nil, 0
  for _, id in ipairs(paused) do
    local last = 0
    for epoch in pairs(values[id] or {}) do last = math.max(last, epoch) end
    if last > best_epoch and self:among_best(values, id, last) then best, best_epoch = id, last end
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

function Median.promote() return nil end

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
