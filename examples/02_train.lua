-- Training: pelk_nano (kernels up to 31x31) on Fashion-MNIST, with checkpoints, an evaluation, and pictures of what it
-- did. Half a minute on two cores; the whole set for four epochs, as `make demo` has it, two to four minutes:
--   lua5.4 examples/02_train.lua [out=runs/train] [epochs=3] [images=12000] [lr=0.004] [batch=128] [seed=1]
--   lua5.4 examples/02_train.lua out=runs/fashion epochs=4 images=60000
-- Ctrl-C saves; the same command goes on, and a larger number of epochs as well.
-- Last lines of its output: the test accuracy (above 90 % after four whole epochs), where weights and pictures are.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")

local settings = example.settings { out = "runs/train", epochs = 3, images = 12000, tests = 10000, lr = 4e-3,
  batch = 128, seed = 1 }
local function say(...) print(string.format(...)) end

local train_set = assert(pelk.data.fashion_mnist { split = "train" })
local test_set = assert(pelk.data.fashion_mnist { split = "test" })
train_set = train_set:take(math.min(settings.images, train_set:size()))
test_set = test_set:take(math.min(settings.tests, test_set:size()))
local t = pelk.data.transforms
local scale = { t.to_float(), t.normalize { mean = { 0.2860 }, std = { 0.3530 } } } -- of the training set
local train = pelk.data.loader(train_set, {
  batch = settings.batch, shuffle = true, seed = settings.seed,
  transforms = { t.random_crop { padding = 1 }, t.hflip {}, scale[1], scale[2] },
})
local test = pelk.data.loader(test_set, { batch = 250, transforms = scale })

pelk.manual_seed(settings.seed)
local model = pelk.models.create("pelk_nano")
local config = pelk.config()
say("pelk %s: %s kernels, %d threads", config.version, config.isa, config.threads)
say("%s", tostring(model:summary { image_size = 28, depth = 2 }))
say("training on %d images, testing on %d; classes: %s", train_set:size(), test_set:size(),
  table.concat(train_set.classes, ", "))

local history = pelk.train {
  model = model, train = train, val = test, epochs = settings.epochs, out = settings.out, resume = true,
  seed = settings.seed,
  optimizer = { name = "adamw", lr = settings.lr, weight_decay = 0.05 },
  schedule = { kind = "cosine", warmup_epochs = 0.3 },
  loss = { label_smoothing = 0.05 },
}
if history.interrupted then os.exit(130) end

local seconds = example.seconds(history)
local result = pelk.evaluate(model, test)
say("\n%s\n", tostring(history))
say("test accuracy %.2f %% on %d images, after %d epochs and %.0f s of training", result.top1, result.n, #history,
  seconds)

say("weights         %s/best.safetensors (PyTorch layouts), %s/summary.csv", settings.out, settings.out)
local function picture(what, path, ok, message)
  say("%-15s %s", what, ok and path or "not drawn: " .. tostring(message))
end
local curves = settings.out .. "/curves.png"
picture("learning curves", curves, pelk.viz.curves(history, curves))
local grids = settings.out .. "/grids.png"
picture("kernel grids", grids, pelk.viz.grid({ pelk.grid(31), pelk.grid(51), pelk.grid(101, { radius = 3 }) }, grids))
local kernels = settings.out .. "/kernels.png"
picture("learned kernels", kernels, pelk.viz.kernels(model, kernels))
