--- What the commands share: flags of data and models, data sets, models of a run.
-- @module pelk.command.common

local pelk = require("pelk")
local data = require("pelk.data")
local flags = require("pelk.command.flags")
local json = require("pelk.json")
local models = require("pelk.models")

local common = {}

-- ---- flags ----

common.data_flags = {
  { title = "Data" },
  { name = "data_set", type = "string", help = "fashion_mnist, mnist, cifar10, cifar100 (CIFAR), or image_folder "
    .. "(IMNET; what there is when --data_path alone is given)" },
  { name = "data_path", type = "string", help = "folder of the files; image_folder: train/ and val/" },
  { name = "eval_data_path", type = "string", help = "image_folder: class folders of test images, instead of val/" },
  { name = "input_size", type = "integer", help = "side of the images; the data set's own, 224 for image_folder" },
  { name = "batch_size", type = "integer", default = 128, help = "images a batch" },
  { name = "crop_pct", type = "number", default = 0.875, help = "share of the resized test image that is kept" },
  { name = "num_workers", type = "integer", help = "threads that read pictures ahead" },
  { name = "limit", type = "integer", help = "only so many images of each set: the first; of a "
    .. "folder, some drawn at random" },
}

common.model_flags = {
  { title = "Model" },
  { name = "model", type = "string", help = "a name of pelk.models.list()" },
  { name = "nb_classes", type = "integer", help = "classes; the data set's" },
  { name = "in_channels", type = "integer", help = "colours; the data set's" },
  { name = "kernel_size", type = "list", help = "a side a stage; one more is the small kernel's: 51 49 47 13 5" },
  { name = "width_factor", type = "number", help = "factor of all widths" },
  { name = "depths", type = "list", help = "blocks of each stage" },
  { name = "dims", type = "list", help = "channels of each stage" },
}

common.machine_flags = {
  { title = "Machine" },
  { name = "threads", type = "integer", help = "threads; all cores (PELK_NUM_THREADS)" },
}

--- One list of several.
function common.join(...)
  local all = {}
  for _, list in ipairs({ ... }) do
    for _, flag in ipairs(list) do all[#all + 1] = flag end
  end
  return all
end

function common.use_machine(v)
  if v.threads then pelk.set_threads(v.threads) end
end

-- ---- data sets ----

local about = {
  fashion_mnist = { mean = { 0.2860 }, std = { 0.3530 }, size = 28, channels = 1, padding = 2, classes = 10 },
  mnist = { mean = { 0.1307 }, std = { 0.3081 }, size = 28, channels = 1, padding = 2, flip = false, classes = 10 },
  cifar10 = { mean = { 0.4914, 0.4822, 0.4465 }, std = { 0.2470, 0.2435, 0.2616 }, size = 32, channels = 3, padding = 4,
    classes = 10 },
  cifar100 = { mean = { 0.5071, 0.4865, 0.4409 }, std = { 0.2673, 0.2564, 0.2762 }, size = 32, channels = 3,
    padding = 4, classes = 100 },
  image_folder = { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 }, size = 224, channels = 3 },
}

local other_names = { IMNET = "image_folder", CIFAR = "cifar100" }

--- What is known of the data set of the flags; v.data_set becomes pelk's name of it.
function common.about(v)
  v.data_set = other_names[v.data_set] or v.data_set or v.data_path and "image_folder"
  local names = {}
  for name in pairs(about) do
    if data[name] then names[#names + 1] = name end
  end
  table.sort(names)
  if not v.data_set then flags.wrong("--data_set is required: one of %s", table.concat(names, ", ")) end
  local known = about[v.data_set]
  return known or flags.wrong("--data_set must be one of %s, got '%s'", table.concat(names, ", "), v.data_set)
end

--- A split of the data set; fails with what is missing.
function common.data_set(v, split, classes)
  local set, message
  if v.data_set == "image_folder" then
    if not v.data_path then flags.wrong("--data_path is required: the folder with train/ and val/") end
    local part, root = split == "test" and "val" or split, v.data_path
    if split == "test" and v.eval_data_path then part, root = nil, v.eval_data_path end
    set, message = data.image_folder({ root = root, split = part, classes = classes })
  else
    set, message = data[v.data_set]({ root = v.data_path, split = split })
  end
  if not set then error(message, 0) end
  if not v.limit or v.limit >= set:size() then return set end
  if v.limit < 1 then flags.wrong("--limit must be at least 1, got %d", v.limit) end
  if v.data_set == "image_folder" then return (set:split(v.limit / set:size(), 0)) end -- its first are of one class
  return set:take(v.limit)
end

local t = data.transforms

--- Steps for test images: what the papers do at test time.
function common.test_transforms(v, known)
  local size = v.input_size or known.size
  local steps = {}
  if size ~= known.size or v.data_set == "image_folder" then
    if size >= 384 or v.data_set ~= "image_folder" then
      steps[1] = t.resize { size = size, interpolation = "bicubic" }
    else
      local side = math.floor(size / v.crop_pct + 0.5)
      steps[1] = t.resize { size = side, keep_ratio = true, interpolation = "bicubic" }
      steps[2] = t.center_crop { size = size }
    end
  end
  steps[#steps + 1] = t.to_float()
  steps[#steps + 1] = t.normalize { mean = known.mean, std = known.std }
  return steps
end

function common.test_loader(v, set, known)
  return data.loader(set, { batch = v.batch_size, transforms = common.test_transforms(v, known),
    workers = v.num_workers })
end

-- ---- models ----

--- Overrides of a preset from the flags that were given.
function common.overrides(v, known, classes)
  local list = v.kernel_size
  local kernels, small
  if list then
    local stages = #(v.depths or models.spec(v.model).depths)
    kernels = { table.unpack(list, 1, math.min(#list, stages)) }
    small = list[stages + 1]
  end
  return { num_classes = v.nb_classes or classes or known and known.classes, kernels = kernels, small_kernel = small,
    in_channels = v.in_channels or known and known.channels, width = v.width_factor, depths = v.depths, dims = v.dims }
end

--- What a run's command.json says, or nil, message.
function common.read_run(dir)
  local path = dir .. "/command.json"
  local values, message = json.read(path)
  if type(values) ~= "table" then return nil, message or path .. ": is no run's command" end
  return values
end

--- The flags of a run put under those that were given: `pelk eval --run runs/first`.
function common.with_run(v, given)
  if not v.run then return v end
  local run, message = common.read_run(v.run)
  if not run then error(message, 0) end
  for key, value in pairs(run) do
    if not given[key] then v[key] = value end
  end
  for _, flag in ipairs(common.model_flags) do v.model_changed = v.model_changed or given[flag.name] or nil end
  if not v.weights then
    local averages = v.run .. "/best_ema.safetensors"
    local file = io.open(averages, "rb")
    if file then file:close() end
    v.weights = file and averages or v.run .. "/best.safetensors"
  end
  return v
end

--- The model of the flags with its weights.
function common.load_model(v, known, classes)
  if not v.model then flags.wrong("--model is required (or --run, the folder of a run)") end
  local overrides = v.overrides or {}
  if v.model_changed or not v.overrides then
    for key, value in pairs(common.overrides(v, known, classes)) do overrides[key] = value end
  end
  local model = models.create(v.model, overrides)
  if v.weights then
    local ok, message = model:load(v.weights)
    if not ok then error(message, 0) end
  end
  model:eval()
  return model
end

return common
