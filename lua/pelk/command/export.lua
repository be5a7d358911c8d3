--- pelk export.
local pelk = require("pelk")
local common = require("pelk.command.common")
local flags = require("pelk.command.flags")

local command = {}

command.help = [[
pelk export --run DIR | --model M --weights FILE  --output FILE [flags]

Weights for other programs. A name that ends in .onnx gives ONNX, others safetensors (timm's names, PyTorch's layouts).
--merge folds batch norms and parallel branches into single convolutions first.

  pelk export --run runs/first --merge --output pelk_nano.safetensors]]

command.flags = common.join({
  { title = "Export" },
  { name = "run", type = "string", help = "a run's folder" },
  { name = "weights", type = "string", help = "a safetensors file" },
  { name = "output", type = "string", help = "the file to write" },
  { name = "merge", type = "boolean", default = false, help = "re-parameterise for inference" },
  { name = "input_size", type = "integer", help = "side of the images (ONNX)" },
  { name = "data_set", type = "string", help = "whose size, channels and classes the model has" },
}, common.model_flags, common.machine_flags)

function command.run(v, given)
  common.use_machine(v)
  common.with_run(v, given)
  if not v.output then flags.wrong("--output is required: the file to write") end
  local known = v.data_set and common.about(v)
  local model = common.load_model(v, known, v.classes and #v.classes)
  if v.merge then model:merge() end
  local ok, message
  if v.output:find("%.onnx$") then
    ok, message = pelk.export_onnx(model, v.output, { image_size = v.input_size or known and known.size or 224 })
  else
    ok, message = model:save(v.output, { model = v.model, merged = tostring(v.merge) })
  end
  if not ok then error(message, 0) end
  io.stdout:write("written: ", v.output, "\n")
  return 0
end

return command
