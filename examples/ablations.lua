-- The PeLK paper's ablations, row by row: build, count, time, and train on data of yours.
--   lua5.4 examples/ablations.lua --table 5 [--time] [--train fashion_mnist --epochs 1 --limit 2000]
-- --table   1     stripes (SLaK-51) or dense kernels (RepLK-51), with and without sparsity
--           5     sharing grids #1 to #6 of a 33x33 kernel        (pelk.grids.table5_1 ...)
--           6     the fine centre of PeLK-T's kernels, 1x1 to 7x7
--           7     kernel sizes: PeLK, -101, -151 at 224; PeLK, -101 at 384
--           fig6  parameters of ConvNeXt-T with all kernels set to 7 ... 151: dense, stripes, peripheral
-- --time    a forward and a training step, milliseconds, the fastest of 3, images --batch 1
-- --train   fashion_mnist, mnist, cifar10 (with --root its folder), or a folder of images (train/CLASS/*, val/CLASS/*)
--           --epochs 1 --limit 2000 (training images) --tests 1000 --train_batch 64 --lr 0.002 --seed 1
--           --layer_scale 1 (with weights by fan-in, so that blocks count from the first steps; the 1e-6 of the papers
--           is for long runs: 1e-6 here brings back their initial weights too)
-- Smaller networks of the same design: --dims 32,64,128,256 --depths 2,2,4,2 --stem 1; --width 1 for all rows alike.
-- --csv FILE writes the table too. Words key=value are understood as well.
--
-- What the paper leaves open: rows without sparsity have width 1.0 here, sparse ones 1.3 at density 0.6; the grids of
-- Table 5 stand in all four stages. "paper" is top-1 on ImageNet after 120 epochs; "weights" are those of a channel's
-- kernel in stage 1, in % of the dense one. For small pictures the stem's patches shrink (28x28: 1) so that the first
-- stage's map is nearer to the 56x56 of ImageNet. All of PeLK-T trains some images a second: begin small.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")
local show = require("pelk.show")

local defaults = { table = "", time = false, batch = 1, train = "", root = "", epochs = 1, limit = 2000, tests = 1000,
  train_batch = 64, lr = 2e-3, seed = 1, layer_scale = 1, dims = "", depths = "", stem = 0, width = 0, csv = "" }
local settings = example.settings(defaults)
local function usage(what) example.refuse(defaults, what) end

-- ---- the rows ----

local function grid_row(n, what, top1)
  return { ("#%d %s"):format(n, what), "pelk_tiny", { grid = "table5_" .. n, position = "off" }, 1, 224, top1 }
end
local function centre_row(radius, top1)
  local side = 2 * radius + 1
  return { ("centre %dx%d"):format(side, side), "pelk_tiny", { radius = radius }, 0.6, 224, top1 }
end

-- {name, model, overrides, density, image size, the paper's top-1}
local tables = {
  ["1"] = {
    { "SLaK-51 stripes, sparse", "slak_tiny", {}, 0.6, 224, 81.6 },
    { "RepLK-51 dense, sparse", "slak_tiny_dense", {}, 0.6, 224, 81.7 },
    { "SLaK-51 stripes", "slak_tiny", {}, 1, 224, 81.3 },
    { "RepLK-51 dense", "slak_tiny_dense", {}, 1, 224, 81.6 },
  },
  ["5"] = {
    grid_row(1, "ones", 81.4), grid_row(2, "twos, centre 1x1", 81.0), grid_row(3, "twos, centre 5x5", 81.4),
    grid_row(4, "fours", 81.3), grid_row(5, "exponential", 81.4), grid_row(6, "inside out", 80.5),
  },
  ["6"] = { centre_row(0, 80.8), centre_row(1, 81.1), centre_row(2, 81.6), centre_row(3, 81.6) },
  ["7"] = {
    { "PeLK at 224", "pelk_tiny", {}, 0.6, 224, 81.6 },
    { "PeLK-101 at 224", "pelk_tiny_101", {}, 0.6, 224, 81.6 },
    { "PeLK-151 at 224", "pelk_tiny_151", {}, 0.6, 224, 81.2 },
    { "PeLK at 384", "pelk_tiny", {}, 0.6, 384, 82.7 },
    { "PeLK-101 at 384", "pelk_tiny_101", {}, 0.6, 384, 83.0 },
  },
}

local function list_of(text, what)
  local list = {}
  for word in text:gmatch("[^,]+") do
    list[#list + 1] = math.tointeger(tonumber(word)) or usage(("%s wants whole numbers, 2,2,4,2 say"):format(what))
  end
  return list
end

-- The row's options of the model, cut to the stages there are.
local function spec_of(row)
  local spec = pelk.models.spec(row[2])
  for key, value in pairs(row[3]) do spec[key] = value end
  spec.width = settings.width > 0 and settings.width or row[4] == 1 and 1 or spec.width
  if settings.dims ~= "" then spec.dims = list_of(settings.dims, "dims") end
  if settings.depths ~= "" then spec.depths = list_of(settings.depths, "depths") end
  if settings.stem > 0 then spec.stem = settings.stem end
  for _, key in ipairs({ "dims", "depths", "kernels" }) do
    local list = spec[key]
    spec[key] = table.move(list, 1, math.min(#list, #spec.depths, #spec.dims), 1, {})
  end
  if spec.grid then spec.kernels = nil end
  return spec
end

-- Weights of a channel's kernel in stage 1 over those of the dense one.
local function weights_of(spec)
  local k = spec.kernels and spec.kernels[1]
  if spec.mixer == "dense" then return 1 end
  if spec.mixer == "stripe" then return 2 * spec.small_kernel / k end
  local grid = spec.grid and pelk.grids[spec.grid] or pelk.grid(k, { radius = spec.radius, rule = spec.rule })
  local sum = 0
  for _, width in ipairs(grid) do sum = sum + width end
  return (#grid / sum) ^ 2
end

-- ---- time ----

local function fastest(f)
  f() -- caches and pools
  local best = math.huge
  for _ = 1, 3 do
    local began = pelk.clock()
    f()
    best = math.min(best, pelk.clock() - began)
  end
  return 1e3 * best
end

local function times_of(model, image_size)
  local n = settings.batch
  local x = pelk.randn({ n, image_size, image_size, 3 })
  model:eval()
  local forward = fastest(function() pelk.no_grad(function() model(x):free() end) end)
  model:train()
  local optimizer = pelk.optim.adamw(model, { lr = 1e-4 })
  local y = pelk.randint(1, 10, { n }, { dtype = "int32" })
  local step = fastest(function()
    optimizer:zero_grad()
    local loss <close> = pelk.ops.cross_entropy(model(x), y)
    loss:backward()
    optimizer:step()
  end)
  return forward, step
end

-- ---- training ----

local t = pelk.data.transforms
local known_sets = {
  fashion_mnist = { channels = 1, size = 28, mean = { 0.2860 }, std = { 0.3530 } },
  mnist = { channels = 1, size = 28, mean = { 0.1307 }, std = { 0.3081 } },
  cifar10 = { channels = 3, size = 32, mean = { 0.4914, 0.4822, 0.4465 }, std = { 0.2470, 0.2435, 0.2616 } },
}
local folder_set = { channels = 3, mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } }

local function read_set(split, n, classes)
  local name = settings.train
  local ds, message
  if known_sets[name] then
    ds, message = pelk.data[name]({ split = split, root = settings.root ~= "" and settings.root or nil })
  else
    local folder = split == "train" and "train" or "val"
    ds, message = pelk.data.image_folder({ root = name, split = folder, classes = classes })
  end
  if not ds then
    io.stderr:write(tostring(message), "\n")
    os.exit(1)
  end
  if n >= ds:size() then return ds end
  return known_sets[name] and ds:take(n) or (ds:split(n / ds:size(), 0)) -- a folder's first are of one class
end

local sets -- read once

-- Test accuracy of the row's model after a training.
local function train_row(row, spec)
  if not sets then
    local train = read_set("train", settings.limit)
    sets = { train = train, test = read_set("test", settings.tests, train.classes) }
  end
  local about = known_sets[settings.train] or folder_set
  local size = about.size or row[5]
  local scale = { t.to_float(), t.normalize({ mean = about.mean, std = about.std }) }
  if not about.size then table.insert(scale, 1, t.resize({ size = { size, size } })) end
  spec.num_classes, spec.in_channels = #sets.train.classes, about.channels
  spec.layer_scale, spec.init = settings.layer_scale, settings.layer_scale < 1e-3 and "trunc_normal" or "fan_in"
  if settings.stem == 0 then spec.stem = math.max(1, math.min(4, size // 56)) end
  pelk.manual_seed(settings.seed)
  local model <close> = pelk.models.create(spec)
  local batch = math.min(settings.train_batch, sets.train:size())
  local steps = settings.epochs * (sets.train:size() // batch)
  local history = pelk.train({
    model = model, epochs = settings.epochs, seed = settings.seed,
    train = pelk.data.loader(sets.train, { batch = batch, shuffle = true, seed = settings.seed, transforms = scale }),
    optimizer = { name = "adamw", lr = settings.lr, weight_decay = 0.05 },
    schedule = { kind = "cosine", warmup_epochs = 0.1 * settings.epochs }, loss = { label_smoothing = 0.1 },
    sparse = row[4] < 1 and { density = row[4], init = "snip", prune_rate = 0.3,
      update_every = math.max(1, math.min(100, steps // 10)) } or nil,
  })
  if history.interrupted then os.exit(130) end
  local test = pelk.data.loader(sets.test, { batch = 100, transforms = scale })
  return pelk.evaluate(model, test, { progress = false }).top1
end

-- ---- printing ----

-- Rows of cells in columns, and as CSV where asked.
local function print_cells(cells)
  print(table.concat(show.columns(cells, 1), "\n"))
  if settings.csv == "" then return end
  local file = assert(io.open(settings.csv, "w"))
  for _, row in ipairs(cells) do
    local out = {}
    for j, cell in ipairs(row) do out[j] = cell:find("[,\"]") and '"' .. cell:gsub('"', '""') .. '"' or cell end
    file:write(table.concat(out, ","), "\n")
  end
  assert(file:close())
end

local function cells_of(row)
  local spec = spec_of(row)
  local count = pelk.models.count(spec, nil, { image_size = row[5], density = row[4] })
  local cells = { row[1], ("%.1f %%"):format(100 * weights_of(spec)), ("%.2f"):format(count.params / 1e6),
    ("%.2f"):format(count.params_nonzero / 1e6) }
  for _, key in ipairs({ "macs_paper", "macs_dense", "macs_in_image", "macs_run" }) do
    cells[#cells + 1] = ("%.3f"):format(count[key] / 1e9)
  end
  if settings.time then
    local model <close> = pelk.models.create(spec)
    for _, ms in ipairs({ times_of(model, row[5]) }) do cells[#cells + 1] = ("%.1f"):format(ms) end
  end
  cells[#cells + 1] = ("%.1f"):format(row[6])
  if settings.train ~= "" then cells[#cells + 1] = ("%.2f"):format(train_row(row, spec)) end
  return cells
end

local function ablation(rows)
  local header = { "row", "weights", "params M", "not zero", "G paper", "G dense", "G in image", "G run" }
  if settings.time then table.move({ "forward ms", "step ms" }, 1, 2, #header + 1, header) end
  header[#header + 1] = "paper"
  if settings.train ~= "" then header[#header + 1] = "top-1 here" end
  local cells = { header }
  for n, row in ipairs(rows) do cells[n + 1] = cells_of(row) end
  print_cells(cells)
end

-- Millions of parameters of ConvNeXt-T when each channel's 7x7 kernel becomes another.
local function figure6()
  local spec, channels = pelk.models.spec("convnext_tiny"), 0
  for stage, depth in ipairs(spec.depths) do channels = channels + depth * spec.dims[stage] end
  local rest = pelk.models.count("convnext_tiny").params - channels * 49
  local growth = pelk.viz.growth(nil, { kernels = { 7, 31, 51, 101, 151 } })
  local cells = { { "kernel", "dense", "stripes", "peripheral" } }
  for n, k in ipairs(growth.kernels) do
    cells[n + 1] = { tostring(k) }
    for _, key in ipairs({ "dense", "stripe", "peripheral" }) do
      table.insert(cells[n + 1], ("%.2f"):format((rest + channels * growth[key][n]) / 1e6))
    end
  end
  print_cells(cells)
end

if settings.table == "fig6" then figure6()
else ablation(tables[settings.table] or usage("--table must be 1, 5, 6, 7 or fig6")) end
