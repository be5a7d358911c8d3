-- What a network sees: the effective receptive fields of two small networks, kernels of 31 and of 3, before and after a
-- short training on Fashion-MNIST. Under a minute on two cores.
--   lua5.4 examples/06_erf.lua [out=runs/erf] [steps=120] [images=50] [size=84]

local pelk = require("pelk")

local settings = { out = "runs/erf", steps = 120, images = 50, size = 84 }
for _, word in ipairs(arg or {}) do
  local key, value = word:match("^(%w+)=(.+)$")
  if not key or settings[key] == nil then
    io.stderr:write(("usage: 06_erf.lua [out=DIR] [steps=N] [images=N] [size=N], got '%s'\n"):format(word))
    os.exit(2)
  end
  settings[key] = tonumber(value) or value
end

local t = pelk.data.transforms
local train_set = assert(pelk.data.fashion_mnist { split = "train" })
local test_set = assert(pelk.data.fashion_mnist { split = "test" })
local normalize = t.normalize { mean = { 0.2860 }, std = { 0.3530 } }
local loader = pelk.data.loader(train_set, { batch = 64, shuffle = true, seed = 1,
  transforms = { t.to_float(), normalize } })

-- A few steps of AdamW; the mean loss of the last ten.
local function train(model)
  local optimizer = pelk.optim.adamw(model, { lr = 2e-3, weight_decay = 0.05 })
  local recent, step = {}, 0
  for x, y in loader:epoch(1) do
    if step == settings.steps then break end
    step = step + 1
    local loss = pelk.ops.cross_entropy(model(x), y)
    optimizer:zero_grad()
    loss:backward()
    optimizer:step()
    recent[step % 10 + 1] = loss:item()
  end
  local sum = 0
  for _, loss in ipairs(recent) do sum = sum + loss end
  return sum / #recent
end

-- Pictures larger than those it is trained on, so that a field has room to end.
local function field(model)
  return pelk.viz.erf(model, test_set, { size = settings.size, limit = settings.images, progress = false,
    transforms = { t.resize { size = { settings.size, settings.size } }, t.to_float(), normalize } })
end

assert(require("pelk.core").make_dir(settings.out))
for _, kernels in ipairs { { 31, 15, 7 }, { 3, 3, 3 } } do
  pelk.manual_seed(1)
  local model = pelk.models.create("pelk_nano", { kernels = kernels, radius = kernels[1] == 3 and 1 or 2,
    small_kernel = kernels[1] == 3 and 0 or 5 })
  local name = table.concat(kernels, "-")
  local before = field(model)
  local loss = train(model)
  local after = field(model)
  print(("kernels %s, loss %.3f after %d steps"):format(name, loss, settings.steps))
  print(tostring(before) .. "   (not trained)")
  print(after)
  local path = ("%s/erf-%s.png"):format(settings.out, name)
  assert(after:save_png(path, { title = "kernels " .. name }))
  print(path .. "\n")
end
