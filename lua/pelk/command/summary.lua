--- pelk summary.
local common = require("pelk.command.common")
local flags = require("pelk.command.flags")
local models = require("pelk.models")

local command = {}

command.help = [[
pelk summary --model M [flags]      (without --model: the names of all models)

Layers, shapes, parameters and operations of a model.

  pelk summary --model pelk_tiny --input_size 224 --depth 2]]

command.flags = common.join(common.model_flags, {
  { title = "Summary" },
  { name = "input_size", type = "integer", default = 224, help = "side of the image" },
  { name = "depth", type = "integer", default = 2, help = "how deep into the tree" },
}, common.machine_flags)

function command.run(v)
  common.use_machine(v)
  if not v.model then
    io.stdout:write(tostring(models.list()), "\n")
    return 0
  end
  if v.depth < 0 then flags.wrong("--depth must be at least 0, got %d", v.depth) end
  local model = models.create(v.model, common.overrides(v))
  io.stdout:write(tostring(model:summary { image_size = v.input_size, depth = v.depth }), "\n")
  return 0
end

return command
