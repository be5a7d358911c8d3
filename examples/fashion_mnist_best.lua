-- A PeLK of under a million parameters trained on Fashion-MNIST for as long as a lunch break: a convolutional stem,
-- then two stages of peripheral blocks whose kernels (27x27 and 13x13) reach over the whole map.
--
--   lua5.4 examples/fashion_mnist_best.lua [out=runs/fashion_best] [epochs=18] [lr=0.006] [batch=128] [limit=0]
--
-- Ctrl-C saves; the same command goes on. limit=N trains on the first N images only. What counts is the last epoch's
-- averaged weights (EMA): no epoch is chosen by its test accuracy.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")
local nn = pelk.nn

local settings = example.settings { out = "runs/fashion_best", epochs = 18, lr = 6e-3, batch = 128, seed = 1,
  limit = 0 }

local function say(...) io.stdout:write(string.format(...), "\n") end

local t = pelk.data.transforms
local scale = { t.to_float(), t.normalize { mean = { 0.2860 }, std = { 0.3530 } } } -- of the training set
local train_set = assert(pelk.data.fashion_mnist { split = "train" })
if settings.limit > 0 then train_set = train_set:take(settings.limit) end
local test_set = assert(pelk.data.fashion_mnist { split = "test" })
local train = pelk.data.loader(train_set, {
  batch = settings.batch, shuffle = true, seed = settings.seed, drop_last = true,
  transforms = { t.random_crop { padding = 2 }, t.hflip {}, scale[1], scale[2] },
})
local test = pelk.data.loader(test_set, { batch = 250, transforms = scale })

pelk.manual_seed(settings.seed)
local model = nn.Sequential()
local function conv(from, to, stride)
  model:add(nn.Conv2d { in_channels = from, out_channels = to, kernel = 3, stride = stride, padding = 1, bias = false })
    :add(nn.BatchNorm { channels = to }):add(nn.GELU())
end
conv(1, 32, 1) -- 28x28
conv(32, 32, 1)
conv(32, 64, 2) -- 14x14
conv(64, 64, 1)
model:add(pelk.models.create("pelk_nano", { in_channels = 64, stem = 1, norm = "batch", dims = { 64, 128 },
  depths = { 2, 3 }, kernels = { 27, 13 } }))
local count = model:count { image_size = 28, channels = 1 }
say("%s", tostring(model:summary { image_size = 28, channels = 1, depth = 2 }))
say("%d parameters, %.1f M multiply-adds an image; %d images", count.params, count.macs_run / 1e6, #train_set)

local history = pelk.train {
  model = model, train = train, epochs = settings.epochs, out = settings.out, resume = true, seed = settings.seed,
  optimizer = { name = "adamw", lr = settings.lr, weight_decay = 0.05 },
  schedule = { kind = "cosine", warmup_epochs = 0.5 },
  loss = { label_smoothing = 0.05 },
  ema = { decay = 0.999, warmup = true, publish = "alone" },
}
if history.interrupted then os.exit(130) end

local seconds = example.seconds(history)
assert(model:load(settings.out .. "/last.safetensors"))
local result, both = pelk.evaluate(model, test), pelk.evaluate(model, test, { flip = true })
say("\n%s\n", tostring(history))
say("test accuracy %.2f %% (mean with the mirror image: %.2f %%) on %d images with %d parameters,\n" ..
  "after %d epochs and %.1f minutes of training on %d threads", result.top1, both.top1, result.n, count.params,
  #history, seconds / 60, pelk.config().threads)
