-- Averages of weights, against numbers worked by hand.
local pelk = require("pelk")
local help = require "spec.help"

local function linear(weight, bias)
  local m = pelk.nn.Linear(1, 1)
  m:load_state_dict({ weight = pelk.tensor({ { weight } }), bias = pelk.tensor({ bias }) })
  return m
end

local function value(m, name) return m:state_dict()[name]:sum():item() end

local function set(m, weight, bias)
  m:load_state_dict({ weight = pelk.tensor({ { weight } }), bias = pelk.tensor({ bias }) })
end

describe("ema", function()
  it("averages as the formula says, with and without an optimiser's arena", function()
    for _, arena in ipairs({ false, true }) do
      local m = linear(2, -4)
      local opt = arena and pelk.optim.sgd(m)
      local ema = pelk.optim.ema(m, { decay = 0.75 })
      set(m, 6, 4)
      ema:step()
      set(m, -1, 4)
      ema:step()
      local weight, bias = ema:with(function() return value(m, "weight"), value(m, "bias") end)
      assert.are.equal(0.75 * (0.75 * 2 + 0.25 * 6) + 0.25 * -1, weight)
      assert.are.equal(0.75 * (0.75 * -4 + 0.25 * 4) + 0.25 * 4, bias)
      assert.are.equal(-1, value(m, "weight"))
      assert.are.equal(2, ema.steps)
      assert(not arena or opt.steps == 0)
    end
  end)

  it("warms up as timm's: decay 1 - (1 + steps)^(-2/3) at most", function()
    local m = linear(0, 0)
    local ema = pelk.optim.ema(m, { decay = 0.9999, warmup = true })
    local expected = 0
    for step = 1, 3 do
      set(m, step, 0)
      ema:step()
      local d = 1 - (1 + step) ^ (-2 / 3)
      expected = d * expected + (1 - d) * step
    end
    ema:with(function() assert(math.abs(value(m, "weight") - expected) < 1e-6) end)
  end)

  it("averages buffers and leaves what an optimiser moves in place", function()
    local m = pelk.nn.Sequential(pelk.nn.Linear(3, 5), pelk.nn.BatchNorm(5), pelk.nn.Linear(5, 2))
    local ema = pelk.optim.ema(m, { decay = 0.5 })
    local opt = pelk.optim.adamw(m, { lr = 0.1 }) -- after the average: parameters move under it
    local before = m:clone():state_dict()
    pelk.ops.sum(m(pelk.randn({ 8, 3 })) ^ 2):backward()
    opt:step()
    ema:step()
    local now = m:clone():state_dict()
    ema:swap()
    for name, t in pairs(m:state_dict()) do
      assert(t:allclose((before[name] + now[name]) * 0.5, { atol = 1e-6 }), name)
    end
    ema:swap()
    for name, t in pairs(m:state_dict()) do assert(t:equal(now[name]), name) end
  end)

  it("keeps its state, gives the model back after an error, and says what is wrong", function()
    local m = linear(1, 1)
    local ema = pelk.optim.ema(m, { decay = 0.5 })
    set(m, 3, 3)
    ema:step()
    local other = pelk.optim.ema(m, { decay = 0.5 })
    local values, steps = ema:state()
    other:load_state(values, steps)
    assert.are.equal(2, other:with(value, m, "weight"))
    help.raises("inside", ema.with, ema, function() error("inside") end)
    assert.are.equal(3, value(m, "weight"))
    assert(tostring(ema):find("decay 0.5"))
    help.raises("did you mean 'decay'", pelk.optim.ema, m, { decy = 0.9 })
    help.raises("decay", pelk.optim.ema, m, { decay = 2 })
    help.raises("must be a pelk.Module", pelk.optim.ema, "pelk")
    help.raises("must be float32", ema.load_state, ema, pelk.zeros({ 3 }), 1)
  end)
end)
