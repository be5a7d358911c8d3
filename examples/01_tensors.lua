-- Tensors and gradients, and what a peripheral kernel is: a few lines of tensors, a gradient by hand, and then a 31x31
-- kernel of only 11x11 weights that learns to do what a dense one does. Some seconds.
--   lua5.4 examples/01_tensors.lua [out=runs/tensors] [steps=300]

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")

local settings = example.settings { out = "runs/tensors", steps = 300 }

-- Tensors: dimensions and indices count from 1, operators broadcast, slices are views of the same numbers.
local a = pelk.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
print("a = " .. tostring(a))
print("its second row, its transpose times itself, means of its columns:")
print(a[2], a:transpose(1, 2):matmul(a), a:mean(1))
a[2]:fill_(0)
print("after a[2]:fill_(0) the sum is " .. a:sum():item())

-- Gradients: what wants one says so; backward() walks back from a number.
local x = pelk.tensor({ 0.5, -1, 2 }):requires_grad_(true)
local y = (x * x * x - x):sum()
y:backward()
print("\nd/dx of sum(x^3 - x) at x = {0.5, -1, 2} is 3 x^2 - 1:")
print(x.grad, pelk.no_grad(function() return x * x * 3 - 1 end))

-- A dense kernel to be learned: bright centre, dark surround (a difference of two Gaussians), 31x31.
local K, GRID = 31, pelk.grid(31)
local target = pelk.zeros { K, K, 1 }
for i = 1, K do
  for j = 1, K do
    local r2 = (i - 16) ^ 2 + (j - 16) ^ 2
    target[i][j]:fill_(math.exp(-r2 / 8) - 0.1 * math.exp(-r2 / 72))
  end
end

-- A peripheral kernel shares its weights on a grid that gets coarser outwards: one weight a rectangle.
print(("\na peripheral kernel of %dx%d has %dx%d weights, its grid is %s"):format(K, K, #GRID, #GRID, tostring(GRID)))
pelk.manual_seed(1)
local w = pelk.zeros({ #GRID, #GRID, 1 }):requires_grad_(true)
for step = 1, settings.steps do
  local noise = pelk.randn { 4, 48, 48, 1 }
  local wanted = pelk.ops.depthwise_conv(noise, target)
  local loss = pelk.ops.mse_loss(pelk.ops.peripheral_conv(noise, w, { grid = GRID }), wanted)
  w:zero_grad()
  loss:backward()
  pelk.no_grad(function() w:copy_(w - w.grad * 0.01) end) -- plain gradient descent
  if step == 1 or step % 100 == 0 then
    local all = pelk.ops.mse_loss(wanted, wanted * 0):item()
    print(("step %3d: error %.4f, that is %.1f %% of what is to be learned"):format(step, loss:item(),
      100 * loss:item() / all))
  end
end

-- On white noise the best weight of a rectangle is the mean of what it stands for.
local learned = pelk.expand_kernel(w:detach(), GRID)
local worst, top = 0, 0
for i, h in ipairs(GRID) do
  local left = 0
  for j, width in ipairs(GRID) do
    local mean = target:narrow(1, top + 1, h):narrow(2, left + 1, width):mean():item()
    worst = math.max(worst, math.abs(mean - w[i][j]:item()))
    left = left + width
  end
  top = top + h
end
print(("the weights differ from the means of the target's rectangles by at most %.4f"):format(worst))

local path = example.folder(settings.out) .. "/kernels.png"
example.drew(path, pelk.viz.sheet({ target, learned, target - learned }, path, { columns = 3, scale = 8,
  colormap = "coolwarm", symmetric = true, min = -0.3, max = 0.3,
  captions = { "dense, 961 weights", "peripheral, 121 weights", "difference" } }))
