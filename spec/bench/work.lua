--- What `make bench` times: work by name, made when its turn comes.
local pelk = require("pelk")

local work = {}

--- The median of a list.
function work.median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function layer(make, shape)
  return function(training)
    local m, x = make(), pelk.randn(shape)
    if not training then
      m:eval()
      return function() pelk.no_grad(function() m(x):free() end) end, m, x
    end
    x:requires_grad_(true)
    local y <close> = m(x)
    local g = pelk.randn(y:shape())
    return function()
      m:zero_grad()
      x:zero_grad()
      local out <close> = m(x)
      out:backward(g)
    end, m, x
  end
end

local function network(name, inference, train)
  return function(training)
    local shape = training and train or inference
    local m, x = pelk.models.create(name, { in_channels = shape[4] }), pelk.randn(shape)
    if not training then
      m:eval()
      return function() pelk.no_grad(function() m(x):free() end) end, m, x
    end
    local labels = {}
    for i = 1, shape[1] do labels[i] = (i - 1) % 10 + 1 end
    local y = pelk.tensor(labels, { shape[1] }, { dtype = "int32" })
    local opt = pelk.optim.adamw(m, { lr = 1e-4 })
    return function()
      opt:zero_grad()
      local loss <close> = pelk.ops.cross_entropy(m(x), y)
      loss:backward()
      opt:step()
    end, m, x
  end
end

local function peripheral(kernel)
  return layer(function()
    return pelk.nn.PeripheralConv({ channels = 96, kernel = kernel, position_mode = "off",
      radius = kernel == 51 and 2 or 3 })
  end, { 1, 56, 56, 96 })
end

local function dense(kernel)
  return layer(function() return pelk.nn.DepthwiseConv({ channels = 96, kernel = kernel, bias = false }) end,
    { 1, 56, 56, 96 })
end

--- Rows of the table: name; what PyTorch runs (nil: nothing comparable); make(training) -> step, module, input.
-- Networks have the name of their preset and the shape of one inference and of one training step.
work.rows = {
  { name = "peripheral 51x51, 96 ch, 56x56", peer = "dense 51x51", make = peripheral(51) },
  { name = "peripheral 101x101, 96 ch, 56x56", peer = "dense 101x101", make = peripheral(101) },
  { name = "peripheral 151x151, 96 ch, 56x56", make = peripheral(151) },
  { name = "depthwise 7x7, 96 ch, 56x56", peer = "dense 7x7", make = dense(7) },
  { name = "depthwise 31x31, 96 ch, 56x56", peer = "dense 31x31", make = dense(31) },
  { name = "convolution 3x3, 64 -> 64 ch, 28x28, batch 8", peer = "convolution",
    make = layer(function() return pelk.nn.Conv2d({ in_channels = 64, out_channels = 64, kernel = 3, padding = 1 }) end,
      { 8, 28, 28, 64 }) },
  { name = "linear 3136x124 -> 496", peer = "linear",
    make = layer(function() return pelk.nn.Linear(124, 496) end, { 3136, 124 }) },
}

local function add_network(preset, size, inference, training, channels)
  local row = { name = ("%s, %dx%d, batch %d / %d"):format(preset, size, size, inference, training), preset = preset,
    inference = { inference, size, size, channels }, training = { training, size, size, channels } }
  row.make = network(preset, row.inference, row.training)
  work.rows[#work.rows + 1] = row
end
add_network("pelk_nano", 28, 128, 128, 1)
for _, preset in ipairs({ "pelk_tiny", "pelk_tiny_101", "convnext_tiny", "slak_tiny", "replknet_31b" }) do
  add_network(preset, 224, 1, 2, 3)
end

--- The row of that name.
function work.find(name)
  for _, row in ipairs(work.rows) do
    if row.name == name then return row end
  end
  error("no work is called " .. name)
end

return work
