--- pelk predict.
local core = require("pelk.core")
local common = require("pelk.command.common")
local Set = require("pelk.data.set")
local data = require("pelk.data")
local flags = require("pelk.command.flags")

local command = {}

command.help = [[
pelk predict --run DIR | --model M --weights FILE --data_set D  PICTURE ...

The most likely classes of JPEG or PNG files, prepared as the model's test images are.

  pelk predict --run runs/photos a.jpg b.png --topk 3]]

command.flags = common.join({
  { title = "Prediction" },
  { name = "run", type = "string", help = "a run's folder" },
  { name = "weights", type = "string", help = "a safetensors file" },
  { name = "topk", type = "integer", default = 5, help = "classes a picture" },
}, common.model_flags, common.data_flags, common.machine_flags)

local function say(path, logits, classes, k)
  local shares = core.ops.softmax(logits):flat()
  local order = {}
  for i = 1, #shares do order[i] = i end
  table.sort(order, function(a, b) return shares[a] > shares[b] end)
  io.stdout:write(path, "\n")
  for i = 1, math.min(k, #order) do
    local class = order[i]
    io.stdout:write(("  %6.2f %%  %s\n"):format(100 * shares[class], classes and classes[class] or "class " .. class))
  end
end

--- One picture as a batch of one, at the model's size.
local function read(v, known, path)
  local files = core.files({ path }, { channels = known.channels == 1 and 1 or 3 })
  local steps = common.test_transforms(v, known)
  if v.data_set ~= "image_folder" then
    local size = v.input_size or known.size
    table.insert(steps, 1, data.transforms.resize { size = size, interpolation = "bicubic" })
  end
  local set = Set.of_files(files, nil, { name = path })
  return (data.loader(set, { batch = 1, transforms = steps, workers = 0 }):epoch(0)())
end

command.takes_words = true

function command.run(v, given, pictures)
  common.use_machine(v)
  common.with_run(v, given)
  if #pictures == 0 then flags.wrong("predict wants pictures: pelk predict --run DIR a.jpg b.png") end
  local known = common.about(v)
  local model = common.load_model(v, known, v.classes and #v.classes)
  local status = 0
  for _, path in ipairs(pictures) do
    local ok, message = pcall(function()
      say(path, core.no_grad(model, read(v, known, path)), v.classes, v.topk)
    end)
    if not ok then
      io.stderr:write("pelk: ", (tostring(message):gsub("^[^:%s]*:%d+: ", "")), "\n")
      status = 1
    end
  end
  return status
end

return command
