-- A sweep of kernel sizes and grids: a small PeLK on 3,000 pictures of Fashion-MNIST, six trials of three epochs, under
-- a minute on two cores.
--   lua5.4 examples/04_sweep_kernels.lua [out=runs/kernels] [epochs=3] [workers=1] [seeds=1] [plan=false] [prune=false]
-- plan=true says beforehand what it costs; prune=true pauses trials that others beat (successive halving). Whatever
-- stops it, Ctrl-C, kill -9 or the power, the same command goes on. Under mpirun or in a Slurm array each process takes
-- its share. Last lines of its output: the table, as text and as LaTeX.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")
local sweep = pelk.sweep

local settings = example.settings { out = "runs/kernels", epochs = 3, workers = 1, seeds = 1, plan = false,
  prune = false, images = 3000, tests = 1000 }

local train_set = assert(pelk.data.fashion_mnist { split = "train" }):take(settings.images)
local test_set = assert(pelk.data.fashion_mnist { split = "test" }):take(settings.tests)
local t = pelk.data.transforms
local scale = { t.to_float(), t.normalize { mean = { 0.2860 }, std = { 0.3530 } } }

--- One trial: parameters to a model, and training that is logged, saved, paused and resumed by the sweep.
local function objective(params, trial)
  pelk.manual_seed(params.seed)
  local model = pelk.models.create("pelk_nano", params.model)
  trial:train {
    model = model, epochs = params.epochs, seed = params.seed,
    train = pelk.data.loader(train_set, { batch = 64, shuffle = true, seed = params.seed, transforms = scale }),
    val = pelk.data.loader(test_set, { batch = 250, transforms = scale }),
    optimizer = { name = "adamw", lr = 4e-3, weight_decay = 0.05 },
    schedule = { kind = "cosine", warmup_epochs = 0.3 },
  }
end

local results = sweep {
  dir = settings.out, name = "kernel sizes", objective = objective, workers = settings.workers,
  space = {
    model = { depths = { 1, 1, 1 }, dims = { 24, 48, 96 }, layer_scale = 1, init = "fan_in",
      kernels = sweep.choice { { 7, 7, 7 }, { 15, 15, 7 }, { 31, 15, 7 } }, radius = sweep.choice { 1, 2 } },
    seed = sweep.integer(1, settings.seeds), -- and what else a trial's result depends on: another number, another trial
    epochs = settings.epochs, images = settings.images, tests = settings.tests,
  },
  pruner = settings.prune and sweep.asha { reduction = 3 } or nil,
  dry_run = settings.plan,
}

if settings.plan then
  print(results)
  return
end
if results.interrupted then os.exit(130) end
print(results:sort())
print()
print(results:sort():latex())
if sweep.report then print("the report: " .. assert(sweep.report(settings.out))) end
