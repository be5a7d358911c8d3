-- Architectures: a member of the family from a table, with another mixer in every stage; then a network of one's own
-- from layers, as torch7 had it, with a Lua function among them. Both are counted, the second is trained for some
-- seconds on Fashion-MNIST, and its time is measured layer by layer.
--   lua5.4 examples/03_compose.lua [out=runs/compose] [steps=300] [images=19200] [tests=2000]

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")
local nn = pelk.nn

local settings = example.settings { out = "runs/compose", steps = 300, images = 19200, tests = 2000 }

-- 1. A preset is a table: what is not given stays as PeLK-T has it.
local spec = pelk.models.spec("pelk_tiny")
print("pelk_tiny is this table:\n" .. tostring(spec) .. "\n")
local mixed = { num_classes = 10, depths = { 1, 1, 2, 1 }, dims = { 32, 64, 96, 128 },
  mixer = { "peripheral", "dense", "stripe", "inception" }, kernels = { 101, 31, 51, 11 }, radius = { 3, 2, 2, 2 },
  partial = { 0.375, 1, 0.25, 0.125 } }
print("four stages, four kinds of large kernels, counted at 224x224 without building anything:")
print(pelk.models.count("pelk_tiny", mixed, { image_size = 224 }), "\n")
local ok, message = pcall(pelk.models.create, "pelk_tiny", { kernels = { 51, 48, 47, 13 } })
print(("what makes no sense is refused: %s\n"):format(ok and "no" or message))

-- 2. Layers. A block: a peripheral kernel over half of the channels, a norm, a layer that mixes channels; around it a
-- residual connection.
local function block(channels, kernel)
  return nn.Residual(nn.Sequential()
    :add(nn.PartialConv { channels = channels, partial = 0.5, mixer = "peripheral", kernel = kernel, small_kernel = 5 })
    :add(nn.LayerNorm { channels = channels })
    :add(nn.Linear { in_features = channels, out_features = 2 * channels })
    :add(nn.GELU())
    :add(nn.Linear { in_features = 2 * channels, out_features = channels }))
end

-- Any function is a layer: the mean and the largest value of every map, side by side, for the classifier.
local pool = nn.Lambda(function(x)
  local flat = x:reshape(x:size(1), x:size(2) * x:size(3), x:size(4))
  return pelk.ops.concat(flat:mean(2), (flat:max(2)), { dim = 2 })
end)

pelk.manual_seed(1)
local model = nn.Sequential()
  :add(nn.Conv2d { in_channels = 1, out_channels = 32, kernel = 2, stride = 2, padding = 0 })
  :add(block(32, 27)):add(block(32, 27))
  :add(nn.Conv2d { in_channels = 32, out_channels = 64, kernel = 2, stride = 2, padding = 0 })
  :add(block(64, 13)):add(block(64, 13))
  :add(pool)
  :add(nn.Linear { in_features = 128, out_features = 10 })
print(model:summary { image_size = 28 })

local train, test = example.fashion_mnist(64, settings.images, settings.tests)
local loss = example.fit(model, train, settings.steps, 3e-3)
print(("loss %.3f after %d steps; %s"):format(loss, settings.steps,
  tostring(pelk.evaluate(model, test, { progress = false }))))

-- Where the time goes.
local path = example.folder(settings.out) .. "/time.png"
local share, trouble = pelk.viz.time_share(model, pelk.randn { 64, 28, 28, 1 }, path, {
  title = "a network of layers: share of the time" })
print(share or pelk.viz.time_share(model, pelk.randn { 64, 28, 28, 1 }))
example.drew(path, share ~= nil, trouble)
