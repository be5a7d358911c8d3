-- Sharing grids: the six of the PeLK paper's Table 5, partitions of a 33x33 kernel: what each costs in weights,
-- products and milliseconds, and what a small network with it learns in some seconds on Fashion-MNIST.
--   lua5.4 examples/05_grids.lua [out=runs/grids] [steps=120] [tests=2000]
-- A network this small after so few steps says nothing about the paper's order, whose top-1 on ImageNet after 120
-- epochs stands beside; examples/ablations.lua --table 5 --train goes on from here.

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")

local settings = example.settings { out = "runs/grids", steps = 120, tests = 2000 }

-- {number, name, top-1 in the paper, caption}
local rows = {
  { "#1", "ones (dense)", 81.4, "ones" }, { "#2", "twos, centre 1x1", 81.0, "twos, 1x1" },
  { "#3", "twos, centre 5x5", 81.4, "twos, 5x5" }, { "#4", "fours", 81.3, "fours" },
  { "#5", "exponential", 81.4, "powers of 2" }, { "#6", "inside out", 80.5, "inside out" },
}

-- Milliseconds of a layer of 96 channels on one image of 56x56: forward, and forward with gradients.
local function milliseconds(grid)
  local layer = pelk.nn.PeripheralConv { channels = 96, kernel = 33, grid = grid, position_mode = "off" }
  local x, best = pelk.randn({ 1, 56, 56, 96 }):requires_grad_(true), { math.huge, math.huge }
  for _ = 1, 4 do
    local began = pelk.clock()
    pelk.no_grad(function() layer(x):free() end)
    local between = pelk.clock()
    layer(x):sum():backward()
    best = { math.min(best[1], between - began), math.min(best[2], pelk.clock() - between) }
  end
  return 1e3 * best[1], 1e3 * best[2]
end

-- Test accuracy of two blocks at 28x28 and 14x14 after a few steps.
local function learn(name)
  local train, test = example.fashion_mnist(32, settings.steps * 32, settings.tests)
  pelk.manual_seed(1)
  local model <close> = pelk.models.create("pelk_nano", { grid = name, stem = 1, dims = { 16, 32 }, depths = { 1, 1 },
    position = "off" })
  example.fit(model, train, settings.steps, 3e-3)
  return pelk.evaluate(model, test, { progress = false }).top1
end

print("grid                    weights        of 33x33   forward ms   with gradients ms   top-1 here   in the paper")
local grids, captions = {}, {}
for n, row in ipairs(rows) do
  local name = "table5_" .. n
  local grid = pelk.grids[name]
  local forward, both = milliseconds(grid)
  local weights = #grid * #grid
  print(("%s %-17s %4d = %dx%-6d %9.1f %%  %10.2f  %17.2f  %9.2f %%  %11.1f %%"):format(row[1], row[2], weights, #grid,
    #grid, 100 * weights / 33 ^ 2, forward, both, learn(name), row[3]))
  grids[n], captions[n] = grid, ("%d: %s"):format(n, row[4])
end

print("\nwhat kernels of other sizes cost, weights and products of one channel:")
print(pelk.viz.growth())

local path = example.folder(settings.out) .. "/grids.png"
example.drew(path, pelk.viz.grid(grids, path, { side = 198, captions = captions }))
