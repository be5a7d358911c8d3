-- Does the paper hold on small images? Kernel size x fine radius x position embedding on Fashion-MNIST at two image
-- sizes, three seeds each: 72 trials of a small PeLK, with a table of means and an HTML report.
--
--   lua5.4 examples/kernel_study.lua [out=sweeps/kernel_study] [images=2000] [epochs=3] [tests=2000] [workers=1]
--
-- Ten to twenty minutes. Ctrl-C saves; the same command goes on. What to look for: the paper says that larger kernels
-- are better, that a fine centre matters, and that position maps help.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")
local show = require("pelk.show")
local sweep = pelk.sweep

local settings = example.settings { out = "sweeps/kernel_study", images = 2000, epochs = 3, tests = 2000,
  workers = 1 }

local data = pelk.data
local t = data.transforms
local scale = { t.to_float(), t.normalize { mean = { 0.2860 }, std = { 0.3530 } } }
local sets = {}

local function load(split, n)
  sets[split] = sets[split] or assert(data.fashion_mnist { split = split }):take(n)
  return sets[split]
end

local function build(params)
  local k = params.kernel
  return pelk.models.create("pelk_nano", { depths = { 1, 1, 1 }, dims = { 24, 48, 96 }, radius = params.radius,
    kernels = { k, math.min(k, 15), 7 }, position = params.position })
end

local function objective(params, trial)
  local resize = { t.resize { size = params.size, interpolation = "bicubic" }, scale[1], scale[2] }
  local train = data.loader(load("train", settings.images), { batch = 64, shuffle = true, seed = params.seed,
    drop_last = true, transforms = { t.random_crop { padding = 1 }, t.hflip {}, table.unpack(resize) } })
  local test = data.loader(load("test", settings.tests), { batch = 250, transforms = resize })
  pelk.manual_seed(params.seed)
  local model = build(params)
  trial:model(model, { image_size = params.size })
  trial:train { model = model, train = train, epochs = params.epochs, seed = params.seed, progress = false,
    optimizer = { name = "adamw", lr = 4e-3, weight_decay = 0.05 },
    schedule = { kind = "cosine", warmup_epochs = 0.5 }, loss = { label_smoothing = 0.05 } }
  local top1 = pelk.evaluate(model, test, { progress = false }).top1
  return { value = top1, top1 = top1 }
end

local results = sweep {
  dir = settings.out, name = "kernel size, fine radius, position embedding", workers = settings.workers, threads = 1,
  space = { kernel = sweep.choice { 7, 15, 31 }, radius = sweep.choice { 1, 3 },
    position = sweep.choice { "off", "valid" }, size = sweep.choice { 28, 42 }, seed = sweep.choice { 1, 2, 3 },
    epochs = settings.epochs, images = settings.images, tests = settings.tests },
  objective = objective,
}

--- Mean and deviation over all trials that share the values of some parameters.
local function means(names)
  local groups, order = {}, {}
  for _, r in ipairs(results) do
    if r.value then
      local words = {}
      for i, name in ipairs(names) do words[i] = tostring(r.params[name]) end
      local key = table.concat(words, " ")
      if not groups[key] then
        groups[key] = { words = words }
        order[#order + 1] = groups[key]
      end
      table.insert(groups[key], r.value)
    end
  end
  local cells = { { table.unpack(names) } }
  for _, word in ipairs { "trials", "mean top-1", "standard error" } do table.insert(cells[1], word) end
  for _, group in ipairs(order) do
    local n, mean, deviation = #group, example.mean(group)
    local line = { table.unpack(group.words) }
    for _, v in ipairs { ("%d"):format(n), ("%.2f %%"):format(mean), ("%.2f"):format(deviation / math.sqrt(n)) } do
      line[#line + 1] = v
    end
    cells[#cells + 1] = line
  end
  print(table.concat(show.columns(cells, #names), "\n"), "\n")
end

print(results:sort())
print("report", sweep.report(settings.out), "\n")
for _, names in ipairs { { "size", "kernel" }, { "size", "radius" }, { "size", "position" }, { "kernel", "radius" } } do
  means(names)
end
