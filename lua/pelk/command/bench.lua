--- pelk bench.
local core = require("pelk.core")
local common = require("pelk.command.common")
local flags = require("pelk.command.flags")
local models = require("pelk.models")
local optim = require("pelk.optim")

local command = {}

command.help = [[
pelk bench --model M [flags]

Images a second of inference and of whole training steps on random images: the median of several.

  pelk bench --model pelk_tiny --batch_size 8 --threads 2]]

command.flags = common.join(common.model_flags, {
  { title = "Measurement" },
  { name = "batch_size", type = "integer", default = 8, help = "images a batch" },
  { name = "input_size", type = "integer", default = 224, help = "side of the images" },
  { name = "repeats", type = "integer", default = 5, help = "measured steps" },
  { name = "merge", type = "boolean", default = false, help = "infer with the merged model (no training step)" },
}, common.machine_flags)

--- Seconds of f(): the median, after one call that is not counted.
local function median(f, repeats)
  local times = {}
  f()
  for i = 1, repeats do
    local began = core.clock()
    f()
    times[i] = core.clock() - began
  end
  table.sort(times)
  return times[(repeats + 1) // 2]
end

local function report(what, batch, seconds)
  io.stdout:write(("%-14s %9.2f ms  %8.2f images/s\n"):format(what, 1e3 * seconds, batch / seconds))
end

function command.run(v)
  common.use_machine(v)
  if not v.model then flags.wrong("--model is required: one of %s", table.concat(models.list(), ", ")) end
  if v.repeats < 1 then flags.wrong("--repeats must be at least 1, got %d", v.repeats) end
  local model = models.create(v.model, common.overrides(v))
  local options = model:options()
  local x = core.randn({ v.batch_size, v.input_size, v.input_size, options.in_channels })
  local config = core.config()
  io.stdout:write(("%s, batch %d of %dx%d, %s kernels, %d threads\n"):format(v.model, v.batch_size, v.input_size,
    v.input_size, config.isa, config.threads))
  if not v.merge then
    local y = core.randint(1, options.num_classes, { v.batch_size }, { dtype = "int32" })
    local opt = optim.adamw(model)
    model:train()
    report("training step", v.batch_size, median(function()
      opt:zero_grad()
      core.ops.cross_entropy(model(x), y):backward()
      opt:step()
    end, v.repeats))
  end
  model:eval()
  if v.merge then model:merge() end
  report("inference", v.batch_size, median(function() core.no_grad(model, x):free() end, v.repeats))
  return 0
end

return command
