-- Sparse training: a network keeps 40 % of its weights, chosen by SNIP, and every 25 steps gives up those that matter
-- least for others. Under a minute on two cores; examples/sparse_width.lua asks whether that pays.
--   lua5.4 examples/07_sparse.lua [out=runs/sparse] [steps=200] [density=0.4] [tests=2000]

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")

local settings = example.settings { out = "runs/sparse", steps = 200, density = 0.4, tests = 2000 }
local LAYER = "stages.0.blocks.0.conv_dw.large.conv"

local train, test = example.fashion_mnist(64, settings.steps * 64, settings.tests)
local function new_model()
  pelk.manual_seed(1)
  return pelk.models.create("pelk_nano", { dims = { 24, 48, 96 }, depths = { 1, 2, 1 } })
end

-- Dense, to compare with.
local dense = new_model()
local loss = example.fit(dense, train, settings.steps, 3e-3)
print(("dense:  loss %.3f; %s"):format(loss, tostring(pelk.evaluate(dense, test, { progress = false }))))

-- Sparse: the masks sit on the weights that are learned, so one zero of a peripheral kernel is a whole rectangle.
local model = new_model()
local x, y = train:epoch(1)()
local sparse = pelk.sparse.attach(model, { density = settings.density, init = "snip", batch = { x, y },
  growth = "gradient", prune_rate = 0.3, update_every = 25, total_steps = settings.steps })
local out = example.folder(settings.out)
local function alive() return pelk.expand_kernel(model:get(LAYER).weight:detach():abs():gt(0), pelk.grid(31)) end
local before = alive()
loss = example.fit(model, train, settings.steps, 3e-3, function() sparse:step() end)
print(("sparse: loss %.3f; %s\n"):format(loss, tostring(pelk.evaluate(model, test, { progress = false }))))
print(sparse:report())
print(model:count { image_size = 28 })

-- Which rectangles of the first kernels are alive: at first, and at the end; and the learned kernels.
local pictures, captions, after = {}, {}, alive()
local weights = pelk.expand_kernel(model:get(LAYER).weight:detach(), pelk.grid(31))
for _, kind in ipairs { { before, "first mask" }, { after, "last mask" }, { weights, "weights" } } do
  for c = 1, 5 do
    local plane = kind[1]:narrow(3, c, 1)
    local most = math.max(plane:abs():max():item(), 1e-9)
    pictures[#pictures + 1], captions[#captions + 1] = plane / most, ("%s %d"):format(kind[2], c)
  end
end
local path = out .. "/masks.png"
example.drew(path, pelk.viz.sheet(pictures, path, { captions = captions, columns = 5, scale = 5,
  colormap = "coolwarm", min = -1, max = 1 }))
