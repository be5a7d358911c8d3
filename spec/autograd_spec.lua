-- Gradients as Lua sees them: leaves, graphs, no_grad, errors; checked against differences.

local pelk = require "pelk"

local raises = require("spec.help").raises

-- Largest difference between the gradient of sum(f(x) * g) and central differences.
local function worst_difference(f, x, step)
  x = x:detach():clone():requires_grad_()
  local y = f(x)
  local g = pelk.rand(y:shape())
  y:backward(g)
  local got, worst = x.grad:flat(), 0
  local function value(values)
    return pelk.no_grad(function() return (f(pelk.tensor(values, x:shape())) * g):sum():item() end)
  end
  local flat = x:flat()
  for i = 1, #flat do
    local v = flat[i]
    flat[i] = v + step
    local up = value(flat)
    flat[i] = v - step
    local down = value(flat)
    flat[i] = v
    worst = math.max(worst, math.abs((up - down) / (2 * step) - got[i]))
  end
  return worst
end

describe("leaves", function()
  it("collect gradients", function()
    local x = pelk.tensor {1, 2, 3}:requires_grad_()
    assert.is_true(x.requires_grad)
    assert.is_true(x.is_leaf)
    assert.is_nil(x.grad)
    local y = (x * x):sum()
    assert.is_false(y.is_leaf)
    y:backward()
    assert.same({2, 4, 6}, x.grad:tolist());
    (x * 3):sum():backward()
    assert.same({5, 7, 9}, x.grad:tolist())
    assert.equal(x.grad, x.grad)
    x:zero_grad()
    assert.same({0, 0, 0}, x.grad:tolist())
    x.grad = nil
    assert.is_nil(x.grad)
    x.grad = pelk.tensor {1, 1, 1}
    assert.same({1, 1, 1}, x.grad:tolist())
    raises("of that shape", function() x.grad = pelk.ones(2) end)
  end)

  it("are float32", function()
    raises("only float32", pelk.zeros({2}, {dtype = "int32"}).requires_grad_, pelk.zeros({2}, {dtype = "int32"}))
    assert.is_false(pelk.ones(2):requires_grad_():requires_grad_(false).requires_grad)
  end)

  it("may be named when made", function()
    assert.is_true(pelk.ones({2}, {requires_grad = true}).requires_grad)
  end)
end)

describe("graphs", function()
  it("take a gradient for what is no scalar", function()
    local x = pelk.tensor {1, 2}:requires_grad_()
    local y = x * 3
    raises("backward", y.backward, y)
    y:backward(pelk.tensor {1, 10})
    assert.same({3, 30}, x.grad:tolist())
  end)

  it("are used once", function()
    local x = pelk.tensor {1, 2}:requires_grad_()
    local y = (x * x):sum()
    y:backward()
    raises("backward", y.backward, y)
  end)

  it("reach through views and broadcasting", function()
    local x = pelk.arange(6):reshape(2, 3):requires_grad_()
    local w = pelk.tensor {1, 2, 3}:requires_grad_()
    local y = x:transpose():narrow(1, 2, 2):reshape(4) * 2
    y:sum():backward()
    assert.same({{0, 2, 2}, {0, 2, 2}}, x.grad:tolist())
    x.grad = nil;
    (x * w):sum():backward()
    assert.same({5, 7, 9}, w.grad:tolist())
    assert.same({{1, 2, 3}, {1, 2, 3}}, x.grad:tolist())
  end)

  it("reach through indexing", function()
    local x = pelk.zeros(3, 4):requires_grad_()
    x[{{2, 3}, -1}]:sum():backward()
    assert.same({{0, 0, 0, 0}, {0, 0, 0, 1}, {0, 0, 0, 1}}, x.grad:tolist())
  end)

  it("stop at detach", function()
    local x = pelk.tensor {2}:requires_grad_()
    local y = (x * x:detach()):sum()
    y:backward()
    assert.same({2}, x.grad:tolist())
  end)

  it("survive the loss of what they were made of", function()
    local x = pelk.ones(1000):requires_grad_()
    local y = x
    for _ = 1, 100 do y = y * 1.01 end
    y = y:sum()
    collectgarbage()
    collectgarbage()
    y:backward()
    assert.is_true(math.abs(x.grad[1]:item() - 1.01 ^ 100) < 1e-3)
  end)

  it("refuse writes", function()
    local x = pelk.ones(2):requires_grad_()
    local y = x * 2
    raises("fill_", y.fill_, y, 0)
    raises("no_grad", x.copy_, x, 1)
    raises("requires a gradient", function() x[1] = 5 end)
    pelk.no_grad(function() x[1] = 5 end)
    assert.same({5, 1}, x:tolist())
    raises("no leaf", y.requires_grad_, y)
  end)

  it("notice what was written after it was used", function()
    local a = pelk.ones(2)
    local x = pelk.ones(2):requires_grad_()
    local y = (x * a):sum()
    a:fill_(3)
    raises("changed in place", y.backward, y)
  end)

  it("notice what was written into a result that the gradient is made of", function()
    local x = pelk.ones(2):requires_grad_()
    local y = x:exp()
    local sum = y:sum()
    y:detach():fill_(0)
    raises("the result of exp %({2}%).* was changed in place", sum.backward, sum)
  end)

  it("take a tensor's own gradient as a gradient", function()
    for _, from in ipairs({ function(x) return x end, function(x) return x + 0 end }) do
      local x = pelk.ones(2):requires_grad_()
      local y = (x * 3):sum()
      y:backward()
      from(x):backward(x.grad)
      assert.same({ 6, 6 }, x.grad:tolist())
    end
  end)
end)

describe("no_grad", function()
  it("records nothing and passes everything through", function()
    local x = pelk.ones(2):requires_grad_()
    local a, b, c = pelk.no_grad(function(...)
      assert.is_false(pelk.grad_enabled())
      return (x * 2).requires_grad, select("#", ...), ...
    end, 5)
    assert.same({false, 1, 5}, {a, b, c})
    assert.is_true(pelk.grad_enabled())
  end)

  it("ends with errors too", function()
    raises("inner", pelk.no_grad, function() error("inner") end)
    assert.is_true(pelk.grad_enabled())
    raises("function expected", pelk.no_grad, 3)
    assert.is_true(pelk.grad_enabled())
  end)

  it("can be lifted inside", function()
    pelk.no_grad(function()
      pelk.with_grad(function() assert.is_true(pelk.grad_enabled()) end)
      assert.is_false(pelk.grad_enabled())
    end)
  end)
end)

describe("gradients agree with differences", function()
  pelk.manual_seed(3)
  local x = pelk.rand(2, 3) + 0.5
  local w = pelk.randn(3, 3)
  local cases = {
    add = function(t) return t + t * 2 end,
    scalar_sub = function(t) return 3 - t end,
    div = function(t) return 1 / t + t / 3 end,
    pow = function(t) return t ^ 2 end,
    neg = function(t) return -t end,
    exp = function(t) return t:exp() end,
    log = function(t) return t:log() end,
    sqrt = function(t) return t:sqrt() end,
    matmul = function(t) return t:matmul(w) end,
    mean = function(t) return t:mean(1) end,
    sum = function(t) return t:sum(-1) end,
    softmax = function(t) return pelk.ops.softmax(t) end,
    gelu = function(t) return pelk.ops.gelu(t) end,
    concat = function(t) return pelk.ops.concat(t, t * 2, {dim = 1}) end,
    index = function(t) return t[{2, {1, 2}}] * 3 end,
  }
  for name, f in pairs(cases) do
    it(name, function() assert.is_true(worst_difference(f, x, 1e-2) < 2e-2) end)
  end
end)

describe("an optimiser's zero_grad", function()
  local nn = pelk.nn
  local function model() -- two layers; the second is left out on demand
    pelk.manual_seed(5)
    local m = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    return m, pelk.optim.sgd(m, { lr = 1, momentum = 0 }), pelk.randn(5, 3)
  end

  it("leaves zeros to be seen, before and after a backward that does not reach them", function()
    local m, opt, x = model()
    m(x):sum():backward()
    opt:zero_grad()
    assert.equal(0, m:get("1").weight.grad:abs():max():item())
    m:get("0")(x):sum():backward()
    assert.is_true(m:get("0").weight.grad:abs():max():item() > 0)
    assert.equal(0, m:get("1").weight.grad:abs():max():item())
    local before = m:get("1").weight:clone()
    m(x):sum():backward()
    opt:zero_grad()
    m:get("0")(x):sum():backward()
    opt:step() -- nothing arrived at the second layer: it stays
    assert.is_true(before:equal(m:get("1").weight:detach()))
  end)

  it("makes the next gradients the same as the first, and two in a row their sum", function()
    local m, opt, x = model()
    m(x):sum():backward()
    local once = m:get("0").weight.grad:clone()
    opt:zero_grad()
    m(x):sum():backward()
    assert.is_true(once:equal(m:get("0").weight.grad))
    m(x):sum():backward()
    assert.is_true((once * 2):allclose(m:get("0").weight.grad))
  end)

  it("serves a weight that one op takes twice, and one whose gradient is held by the user", function()
    local m, opt, x = model()
    local w = m:get("0").weight
    m(x):sum():backward()
    opt:zero_grad()
    pelk.ops.mul(w, w):sum():backward()
    assert.is_true((w:detach() * 2):allclose(w.grad))
    local held = w.grad
    opt:zero_grad()
    assert.equal(0, held:abs():max():item())
  end)
end)
