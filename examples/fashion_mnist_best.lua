-- A network of half a million parameters trained on Fashion-MNIST for as long as a lunch break: 3x3 convolutions in
-- three stages, and in the second and third a peripheral convolution (27x27, 13x13) of 3/8 of the channels that sees
-- the whole map.
--
--   lua5.4 examples/fashion_mnist_best.lua [out=runs/fashion_best] [epochs=26] [keep=0.5] [lr=0.1] [decay=1e-3]
--     [batch=128] [erase=0.5] [limit=0] [tests=0]
--
-- Ctrl-C saves; the same command goes on. An epoch is the share keep= of the images, the hard ones more often
-- (importance sampling; keep=1: all of them); erase=P wipes a rectangle out of a training image with that probability.
-- limit=N trains on the first N images only, tests=N tests on as many. What counts is the last epoch's averaged weights
-- (EMA): no epoch is chosen by its test accuracy.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")
local nn = pelk.nn

local settings = example.settings { out = "runs/fashion_best", epochs = 26, keep = 0.5, lr = 0.1, decay = 1e-3,
  batch = 128, erase = 0.5, seed = 1, limit = 0, tests = 0 }

local function say(...) io.stdout:write(string.format(...), "\n") end

local t = pelk.data.transforms
local scale = { t.to_float(), t.normalize { mean = { 0.2860 }, std = { 0.3530 } } } -- of the training set
local train_set = assert(pelk.data.fashion_mnist { split = "train" })
if settings.limit > 0 then train_set = train_set:take(settings.limit) end
local test_set = assert(pelk.data.fashion_mnist { split = "test" })
if settings.tests > 0 then test_set = test_set:take(settings.tests) end
local steps = { t.random_crop { padding = 2 }, t.hflip {}, scale[1], scale[2] }
if settings.erase > 0 then
  steps[#steps + 1] = t.random_erasing { p = settings.erase, mode = "const", max_area = 0.25 }
end
local train = pelk.data.loader(train_set, {
  batch = settings.batch, shuffle = true, seed = settings.seed, drop_last = true,
  transforms = steps })
local test = pelk.data.loader(test_set, { batch = 250, transforms = scale })

pelk.manual_seed(settings.seed)
local function conv(from, to, pool)
  local block = nn.Sequential()
  block:add(nn.Conv2d { in_channels = from, out_channels = to, kernel = 3, padding = 1, bias = false })
  if pool then block:add(nn.MaxPool { kernel = 2 }) end
  return block:add(nn.BatchNorm { channels = to }):add(nn.GELU())
end
local function periphery(channels, kernel)
  return nn.Residual(
    nn.PartialConv { channels = channels, mixer = "peripheral", kernel = kernel, partial = 0.375, small_kernel = 5 },
    nn.BatchNorm { channels = channels })
end
local model = nn.Sequential(
  conv(1, 24), -- 28x28
  conv(24, 64, true), -- 14x14
  periphery(64, 27),
  conv(64, 64),
  conv(64, 128, true), -- 7x7
  periphery(128, 13),
  conv(128, 128),
  nn.Residual(conv(128, 128), conv(128, 128)),
  nn.GlobalAvgPool(),
  nn.Linear(128, 10))
local count = model:count { image_size = 28, channels = 1 }
say("%s", tostring(model:summary { image_size = 28, channels = 1, depth = 2 }))
say("%d parameters, %.1f M multiply-adds an image; %d images", count.params, count.macs_run / 1e6, #train_set)

local history = pelk.train {
  model = model, train = train, epochs = settings.epochs, out = settings.out, resume = true, seed = settings.seed,
  optimizer = { name = "sgd", lr = settings.lr, momentum = 0.9, nesterov = true, weight_decay = settings.decay },
  schedule = { kind = "cosine", warmup_epochs = 2 },
  loss = { label_smoothing = 0.1 },
  sampling = settings.keep < 1 and { keep = settings.keep } or nil,
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
