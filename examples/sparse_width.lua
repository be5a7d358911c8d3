-- Does a wider sparse network beat a dense one of the same number of weights? The question of SLaK and PeLK at the size
-- of Fashion-MNIST: pelk_nano dense at width 1.0, dense at width 1.3, and sparse at width 1.3 with density 0.6 (about
-- as many connections as the first has weights), over several seeds.
--   lua5.4 examples/sparse_width.lua [epochs=4] [seeds=3] [limit=60000] [batch=128] [lr=0.004] [density=0.6]
--     [growth=random] [preset=NAME of pelk.sparse.presets]
-- limit: training images, the first ones. Small settings answer in minutes but say little: epochs=2 limit=8000 took
-- under three minutes on two cores and gave 80.01 +- 0.13, 81.02 +- 0.36 and 80.60 +- 0.72 %.
-- Ends with a table of weights, connections and test accuracy, mean and spread (standard deviation) over the seeds.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")

local settings = example.settings { epochs = 4, seeds = 3, limit = 60000, batch = 128, lr = 4e-3, density = 0.6,
  growth = "random", preset = "", tests = 10000 }

-- The first n images.
local function first(split, n)
  local set = assert(pelk.data.fashion_mnist { split = split })
  return set:take(math.min(n, set:size()))
end

local train_set, test_set = first("train", settings.limit), first("test", settings.tests)
local t = pelk.data.transforms
local scale = { t.to_float(), t.normalize { mean = { 0.2860 }, std = { 0.3530 } } } -- of the training set
local test = pelk.data.loader(test_set, { batch = 250, transforms = scale })

local function sparse_options()
  local o = { density = settings.density, init = "snip", growth = settings.growth, prune_rate = 0.3 }
  if settings.preset ~= "" then o = { preset = settings.preset, density = settings.density } end
  -- short runs still update some ten times
  local steps = settings.epochs * math.max(1, train_set:size() // settings.batch)
  o.update_every = math.max(1, math.min(o.update_every or 100, steps // 10))
  return o
end

-- One training; weights, connections, test accuracy.
local function run(width, sparse, seed)
  pelk.manual_seed(seed)
  local model = pelk.models.create("pelk_nano", { width = width })
  local train = pelk.data.loader(train_set, { batch = settings.batch, shuffle = true, seed = seed,
    transforms = { t.random_crop { padding = 1 }, t.hflip {}, scale[1], scale[2] } })
  local history = pelk.train {
    model = model, train = train, epochs = settings.epochs, seed = seed, sparse = sparse and sparse_options() or nil,
    optimizer = { name = "adamw", lr = settings.lr, weight_decay = 0.05 },
    schedule = { kind = "cosine", warmup_epochs = 0.3 }, loss = { label_smoothing = 0.05 },
  }
  if history.interrupted then os.exit(130) end
  local weights = 0
  for _, p in ipairs(model:parameters()) do weights = weights + p:numel() end
  local connections = weights
  if history.sparse then
    for _, row in ipairs(history.sparse:report()) do connections = connections - (row.total - row.active) end
  end
  return weights, connections, pelk.evaluate(model, test, { progress = false }).top1
end

print(("%d training images, %d epochs, %d seeds, batch %d"):format(train_set:size(), settings.epochs, settings.seeds,
  settings.batch))
local cases = { { "dense, width 1.0", 1.0, false }, { "dense, width 1.3", 1.3, false },
  { ("sparse, width 1.3, density %g"):format(settings.density), 1.3, true } }
local lines = {}
for i, case in ipairs(cases) do
  local accuracies, weights, connections = {}, nil, nil
  for seed = 1, settings.seeds do
    local accuracy
    weights, connections, accuracy = run(case[2], case[3], seed)
    accuracies[seed] = accuracy
    print(("%-30s seed %d: %.2f %%"):format(case[1], seed, accuracy))
  end
  local mean, spread = example.mean(accuracies)
  lines[i] = ("%-30s %9d %12d %9.2f %% +- %.2f"):format(case[1], weights, connections, mean, spread)
end
print(("\n%-30s %9s %12s %s"):format("", "weights", "connections", "  test accuracy"))
print(table.concat(lines, "\n"))
