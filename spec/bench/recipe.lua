--- Does the same recipe give the same accuracy elsewhere? pelk and PyTorch train one model from the same weights on the
-- same pictures in the same order, and both are tested on Fashion-MNIST's 10,000 test images.
--
--     make recipe [LIMIT=60000] [EPOCHS=2]
--
-- pelk's side is pelk.train as in the examples; PyTorch's is recipe.py with spec/torch/family.py, its peripheral
-- kernels the dense ones that they expand to. Prints both accuracies, the difference in points, the ratio of the times.
local core = require("pelk.core")
local json = require("pelk.json")
local pelk = require("pelk")

local python, dir = assert(arg[1], "usage: recipe.lua PYTHON FOLDER [limit] [epochs]"), assert(arg[2])
local limit, epochs = tonumber(arg[3]) or 60000, tonumber(arg[4]) or 2
local SEED, BATCH, LR = 1, 128, 4e-3

assert(core.make_dir(dir))
local t = pelk.data.transforms
local scale = { t.to_float(), t.normalize { mean = { 0.2860 }, std = { 0.3530 } } }
local images = assert(pelk.data.fashion_mnist { split = "train" }):take(limit)
local tests = assert(pelk.data.fashion_mnist { split = "test" })

local function loader(...)
  return pelk.data.loader(images, { batch = BATCH, shuffle = true, seed = SEED,
    transforms = { t.random_crop { padding = 1 }, t.hflip {}, ... } })
end

-- What PyTorch is given: the pictures of every epoch as bytes, their labels from 0, the test images, the first weights,
-- the learning rate of every update.
local function hand_over(model)
  assert(model:save(dir .. "/initial.safetensors"))
  local bytes = loader()
  for epoch = 1, epochs do
    local x, y = pelk.empty({ limit, 28, 28, 1 }, { dtype = "uint8" }), pelk.empty({ limit }, { dtype = "int32" })
    local at = 1
    for images_of, labels in bytes:epoch(epoch) do
      local n = images_of:size(1)
      x:narrow(1, at, n):copy_(images_of)
      y:narrow(1, at, n):copy_(labels)
      at = at + n
    end
    assert(pelk.save(("%s/x%d.npy"):format(dir, epoch), x))
    assert(pelk.save(("%s/y%d.npy"):format(dir, epoch), y))
  end
  assert(pelk.save(dir .. "/xt.npy", tests.x))
  assert(pelk.save(dir .. "/yt.npy", tests.y))
end

pelk.manual_seed(SEED)
local model = pelk.models.create("pelk_nano")
hand_over(model)
local rates = {}
local history = pelk.train {
  model = model, train = loader(table.unpack(scale)), epochs = epochs, seed = SEED,
  optimizer = { name = "adamw", lr = LR, weight_decay = 0.05 },
  schedule = { kind = "cosine", warmup_epochs = 0.3 }, loss = { label_smoothing = 0.05 },
  callbacks = { step = function(step) rates[#rates + 1] = step.lr end },
}
if history.interrupted then os.exit(130) end
local ours, seconds = pelk.evaluate(model, pelk.data.loader(tests, { batch = 250, transforms = scale })).top1, 0
for _, row in ipairs(history) do seconds = seconds + row.seconds end
print(("pelk     %.2f %%  after %d epochs of %d images, %.0f s"):format(ours, epochs, limit, seconds))

local threads = pelk.config().threads
assert(core.write_file(dir .. "/job.json", json.encode { options = model:options(), rates = rates, batch = BATCH,
  epochs = epochs, threads = threads, weight_decay = 0.05, label_smoothing = 0.05 }))
assert(os.execute(("%s spec/bench/recipe.py '%s'"):format(python, dir)), "recipe.py failed")
local file = assert(io.open(dir .. "/result.json"))
local theirs = json.decode(file:read("a"))
file:close()
print(("PyTorch  %.2f %%  %.0f s on %d threads: %.1f times as long; accuracies %.2f points apart"):format(theirs.top1,
  theirs.seconds, threads, theirs.seconds / seconds, math.abs(ours - theirs.top1)))
