--- What a sweep would do, without doing it: every trial with its size and a time estimated from measured steps.
local core = require("pelk.core")
local cost = require("pelk.cost")
local optim = require("pelk.optim")
local options = require("pelk.options")
local ops = require("pelk.ops")
local progress = require("pelk.progress")
local show = require("pelk.show")
local space = require("pelk.sweep.space")

local plan = {}

local rules = { model = { "userdata" }, image_size = { "integer|table" }, channels = { "integer" },
  images = { "integer", nil, 1 }, batch = { "integer", 32, 1 } }

local function size_of(o)
  local size = o.image_size or 224
  if type(size) == "table" then return size[1], size[2] end
  return size, size
end

--- Seconds of a training step, the faster of two after a first; the model is changed by it.
local function step_seconds(model, o)
  local h, w = size_of(o)
  local x = core.randn { o.batch, h, w, o.channels or model:options().in_channels or 3 }
  model:train()
  local labels = core.ones({ o.batch }, { dtype = "int32" })
  local optimizer, best = optim.sgd(model, { lr = 1e-6 }), math.huge
  for i = 1, 3 do
    local began = core.clock()
    optimizer:zero_grad()
    ops.cross_entropy(model(x), labels):backward()
    optimizer:step()
    if i > 1 then best = math.min(best, core.clock() - began) end
  end
  return best
end

--- Models that cost the same are measured once.
local function key_of(count, o)
  local h, w = size_of(o)
  return table.concat({ count.params, count.macs_run, o.batch, h, w }, " ")
end

local Plan = {}

function Plan:__tostring()
  local cells = { { table.unpack(self.columns) } }
  for _, name in ipairs { "parameters", "multiply-adds", "time" } do cells[1][#cells[1] + 1] = name end
  for _, row in ipairs(self) do
    local line = {}
    for i, name in ipairs(self.columns) do line[i] = space.show_value(space.get(row.params, name)) end
    line[#line + 1] = row.parameters and tostring(row.parameters) or "?"
    line[#line + 1] = row.macs and ("%.1f M"):format(row.macs / 1e6) or "?"
    line[#line + 1] = row.seconds and progress.duration(row.seconds) or "?"
    cells[#cells + 1] = line
  end
  local lines = show.columns(cells, #self.columns)
  table.insert(lines, 2, ("-"):rep(utf8.len(lines[1])))
  local text = ("%d trials, %d of them done, %d workers"):format(#self + self.done, self.done, self.workers)
  if self.seconds then
    text = ("%s: about %s by steps measured now"):format(text, progress.duration(self.seconds))
  elseif #self > 0 then
    text = text .. "; for sizes and times give plan = function(params) return {model =, image_size =, images =} end"
  end
  lines[#lines + 1] = text
  return table.concat(lines, "\n")
end

--- The plan of the trials that are left.
-- @tab trials
-- @tab o columns, done, workers; plan = function(params) -> {model, image_size, channels, images (seen in all epochs),
--   batch=32}
function plan.make(trials, o)
  local out, measured, sum = { columns = o.columns, done = o.done, workers = o.workers }, {}, 0
  for i, trial in ipairs(trials) do
    local row = { id = trial.id, params = trial.params }
    if o.plan then
      local given = options.read("sweep: plan", o.plan(space.copy(trial.params)), rules)
      options.check_module("sweep: plan", given.model)
      local h, w = size_of(given)
      local count = cost.count(given.model, { image_size = { h, w }, channels = given.channels })
      local key = key_of(count, given)
      row.parameters, row.macs = count.params, count.macs_run
      if given.images then
        measured[key] = measured[key] or step_seconds(given.model, given)
        row.seconds = measured[key] * given.images / given.batch
        sum = sum + row.seconds
      end
    end
    out[i] = row
  end
  if sum > 0 then out.seconds = sum / o.workers end
  return setmetatable(out, Plan)
end

return plan
