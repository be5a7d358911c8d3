--- pelk eval.
local common = require("pelk.command.common")

local command = {}

command.help = [[
pelk eval --run DIR | --model M --weights FILE --data_set D [flags]

Top-1, top-5 and loss of trained weights on the test images. --run takes model, data set and the best weights (their
averages where there are some) from a run's folder; flags replace single values.

  pelk eval --run runs/first --confusion
  pelk eval --model convnext_tiny --weights convnext_tiny.safetensors --data_set image_folder --data_path imagenet]]

command.flags = common.join({
  { title = "Evaluation" },
  { name = "run", type = "string", help = "a run's folder" },
  { name = "weights", type = "string", help = "a safetensors file" },
  { name = "confusion", type = "boolean", default = false, help = "print the confusion matrix" },
  { name = "crops", type = "integer", default = 1, help = "1, or 5: the mean over centre and corner crops" },
  { name = "flip", type = "boolean", default = false, help = "the mean over each picture and its mirror image" },
  { name = "merge", type = "boolean", default = false, help = "re-parameterise first, as for inference" },
}, common.model_flags, common.data_flags, common.machine_flags)

--- Five crops come from the resized picture as it is.
local function loader_of(v, known, set, size)
  if v.crops ~= 5 then return common.test_loader(v, set, known) end
  local side = math.floor(size / v.crop_pct + 0.5)
  local whole = {}
  for key, value in pairs(v) do whole[key] = value end
  whole.input_size, whole.crop_pct = side, 1
  return common.test_loader(whole, set, known), size
end

function command.run(v, given)
  common.use_machine(v)
  common.with_run(v, given)
  local known = common.about(v)
  local set = common.data_set(v, "test", v.classes)
  local model = common.load_model(v, known, set.classes and #set.classes)
  if v.merge then model:merge() end
  local loader, crop = loader_of(v, known, set, v.input_size or known.size)
  local result = require("pelk.train").evaluate(model, loader, { confusion = v.confusion, crops = v.crops,
    crop_size = crop, flip = v.flip })
  io.stdout:write(tostring(result), "\n")
  return 0
end

return command
