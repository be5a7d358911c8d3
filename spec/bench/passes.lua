-- Ops that only read and write, against the speed of memory: passes.lua CSV. One thread. The bytes of an op are what
-- its definition moves, each tensor once; the speed of memory is that of a copy, measured in turns with the op. In
-- processor time, so that other work on the machine does not count.
local pelk = require("pelk")
local work = require("spec.bench.work")

local csv = arg[1]
local N, H, C = 16, 56, 96 -- 19 MB a tensor
local COUNT = N * H * H * C
local MB = 1e-6 * 4

local function seconds(f)
  local t = os.clock()
  f()
  return os.clock() - t
end

-- Forward of a module or function, or its backward alone.
local function forward(f, x)
  return function() pelk.no_grad(function() f(x):free() end) end
end

local function layer(m, x)
  m:train()
  return forward(m, x)
end

local function parameters(optimizer)
  return function()
    local m = pelk.nn.Linear(2048, 2048)
    local x = pelk.randn({ 1, 2048 })
    local y <close> = m(x)
    y:backward(pelk.randn({ 1, 2048 }))
    return optimizer(m), 2048 * 2048
  end
end

local x = pelk.randn({ N, H, H, C })
local pictures, labels = pelk.randn({ 32, 224, 224, 3 }), pelk.zeros({ 32 }, { dtype = "int32" })
labels:fill_(1)
local mixup = pelk.data.mixup { num_classes = 10, cutmix_alpha = 0 }
local rows = {
  { name = "layer norm", tensors = 2, f = layer(pelk.nn.LayerNorm(C), x) },
  { name = "batch norm, inference", tensors = 2, f = forward(pelk.nn.BatchNorm(C):eval(), x) },
  { name = "batch norm, training", tensors = 3, f = layer(pelk.nn.BatchNorm(C), x) },
  { name = "GELU", tensors = 2, f = forward(pelk.ops.gelu, x) },
  { name = "soft-max", tensors = 2, f = forward(pelk.ops.softmax, x) },
  { name = "mixup", tensors = 2, make = function()
    return function() mixup:apply(pictures, labels, 1, 1, 1):free() end, pictures:numel()
  end },
  { name = "AdamW step", tensors = 7, make = parameters(function(m)
    local opt = pelk.optim.adamw(m, { lr = 1e-4 })
    return function() opt:step() end
  end) },
  { name = "EMA step", tensors = 3, make = parameters(function(m)
    local ema = pelk.optim.ema(m, { decay = 0.999 })
    return function() ema:step() end
  end) },
}

pelk.set_threads(1)
local out = assert(io.open(csv, "w"))
out:write("work,ms,gb_per_s,share_of_copy\n")
local source = pelk.randn({ COUNT })
for _, row in ipairs(rows) do
  local f, count = row.f, COUNT
  if row.make then f, count = row.make() end
  local copy = function() source:clone():free() end
  local times, shares = {}, {}
  f()
  copy()
  for i = 1, 15 do
    local speed = 2 * COUNT * MB / seconds(copy)
    times[i] = seconds(f)
    shares[i] = row.tensors * count * MB / times[i] / speed
  end
  local ms, share = work.median(times) * 1e3, work.median(shares)
  local speed = row.tensors * count * MB / ms
  print(("%-24s %8.3f ms  %6.1f GB/s  %4.0f %% of a copy's"):format(row.name, ms, speed, 100 * share))
  out:write(("%s,%.4f,%.3f,%.4f\n"):format(row.name, ms, speed, share))
end
out:close()
