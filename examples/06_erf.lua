-- What a network sees: the effective receptive fields of two small networks, kernels of 31 and of 3, before and after a
-- short training on Fashion-MNIST. Under a minute on two cores.
--   lua5.4 examples/06_erf.lua [out=runs/erf] [steps=120] [images=50] [size=84]

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")

local settings = example.settings { out = "runs/erf", steps = 120, images = 50, size = 84 }

local train = example.fashion_mnist(64, settings.steps * 64)
local pictures = assert(pelk.data.fashion_mnist { split = "test" })
local t = pelk.data.transforms

-- Pictures larger than those it is trained on, so that a field has room to end.
local function field(model)
  return pelk.viz.erf(model, pictures, { limit = settings.images, progress = false, transforms = {
    t.resize { size = { settings.size, settings.size } }, t.to_float(), t.normalize { mean = { 0.2860 },
    std = { 0.3530 } } } })
end

example.folder(settings.out)
local maps, captions = {}, {}
for _, kernels in ipairs { { 31, 15, 7 }, { 3, 3, 3 } } do
  pelk.manual_seed(1)
  local model = pelk.models.create("pelk_nano", { kernels = kernels, radius = kernels[1] == 3 and 1 or 2,
    small_kernel = kernels[1] == 3 and 0 or 5 })
  local name = table.concat(kernels, "-")
  local before = field(model)
  local loss = example.fit(model, train, settings.steps, 2e-3)
  local after = field(model)
  print(("kernels %s, loss %.3f after %d steps"):format(name, loss, settings.steps))
  print(tostring(before) .. "   (not trained)")
  print(after)
  for _, entry in ipairs { { before, "before" }, { after, "after" } } do
    maps[#maps + 1], captions[#captions + 1] = entry[1].log_map, ("kernels %s, %s"):format(name, entry[2])
  end
  local path = ("%s/erf-%s.png"):format(settings.out, name)
  example.drew(path, after:save_png(path, { title = "kernels " .. name }))
  print()
end
local path = settings.out .. "/erf.png"
example.drew(path, pelk.viz.sheet(maps, path, { captions = captions, columns = 4, scale = 3, colormap = "viridis",
  min = 0, max = 1 }))
