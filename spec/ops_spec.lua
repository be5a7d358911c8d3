-- The ops as Lua calls them: arguments, options, messages, the list. What they compute is checked against references
-- in C (spec/check) and against PyTorch (torch_spec).

local pelk = require "pelk"
local ops = pelk.ops

local raises = require("spec.help").raises

local function close(a, b, atol)
  local ok, worst = a:allclose(b, {rtol = 1e-4, atol = atol or 1e-5})
  assert.is_true(ok, "largest difference " .. worst)
end

describe("arguments of ops", function()
  local x, w = pelk.randn(4, 3), pelk.randn(2, 3)

  it("optional inputs may be nil or left out", function()
    local b = pelk.zeros(2)
    close(ops.linear(x, w), ops.linear(x, w, nil))
    close(ops.linear(x, w), ops.linear(x, w, b))
    close(ops.linear(x, w), x:linear(w))
  end)

  it("options come by name or by place", function()
    local y = ops.softmax(x, {dim = 1})
    close(y, ops.softmax(x, 1))
    close(y:sum(1), pelk.ones(3))
    close(x:clamp(0, 1), ops.clamp(x, {min = 0, max = 1}))
    close(ops.sum(x, {dim = -1}), x:sum(2))
  end)

  it("numbers stand for scalars in arithmetic", function()
    close(ops.add(x, 1), x + 1)
    close(ops.sub(1, x), 1 - x)
    close(ops.maximum(x, 0), ops.relu(x))
    close(2 * x, x + x)
    close(-x, 0 - x)
    close((x * x) ^ 0.5, x:abs())
  end)

  it("broadcast", function()
    close(x + pelk.zeros(3), x)
    assert.same({4, 5, 3}, (pelk.zeros(4, 1, 3) + pelk.zeros(5, 1)):shape())
    raises("{4,3} and {4}", function() return x + pelk.zeros(4) end)
  end)

  it("any number of inputs comes as arguments or as a list", function()
    local a = ops.concat(x, x, x, {dim = 1})
    assert.same({12, 3}, a:shape())
    close(a, ops.concat({x, x, x}, {dim = 1}))
    close(ops.concat(x, x), ops.concat {x, x})
    raises("x", ops.concat)
    raises("element 2 of the list", ops.concat, {x, 3})
    raises("too many", ops.concat, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x)
  end)

  it("several outputs are several results", function()
    local a, b = ops.split(x, {sizes = {1, 3}, dim = 1})
    assert.same({1, 3}, a:shape())
    assert.same({3, 3}, b:shape())
    local values, places = x:topk(2)
    assert.same({4, 2}, values:shape())
    assert.equal("int32", places:dtype())
  end)

  it("count from 1", function()
    local t = pelk.tensor {{1, 9, 3}, {7, 5, 6}}
    assert.same({2, 1}, t:argmax(2):flat())
    assert.same({1, 2, 3}, ops.narrow(pelk.arange(5), 1, 1, 3):flat())
    assert.same({2, 3}, ops.narrow(pelk.arange(5), {dim = 1, start = 2, length = 2}):flat())
    assert.same({9, 5}, ops.select(t, 2, 2):flat())
    assert.same({3, 2}, ops.permute(t, 2, 1):shape())
    assert.same({3, 2}, ops.permute(t, {2, 1}):shape())
  end)

  it("are checked", function()
    raises("linear: x %(argument 1%) is nil", ops.linear, nil)
    raises("linear: argument 1: x .* is missing", ops.linear)
    raises("linear: argument 2: w .* is missing", ops.linear, x)
    raises("linear: too many inputs, wants %(x, w, b%?%), at most 16", ops.linear, x, w, w, w)
    raises("argument 1, x: a tensor expected, got 'a'", ops.linear, "a", w)
    raises("pelk.Tensor expected, got FILE", ops.linear, x, io.stdout)
    raises("{4,3}", ops.linear, x, pelk.zeros(2, 5))
    raises("int32", ops.linear, pelk.zeros({4, 3}, {dtype = "int32"}), w)
    raises("did you mean 'stride'", ops.conv2d, x, w, {strid = 2})
    raises("unknown option 'zzzzzz'", ops.conv2d, x, w, {zzzzzz = 2})
    raises("stride", ops.conv2d, x, w, {stride = 0})
    raises("stride wants an integer or {h, w}, got 'x'", ops.conv2d, x, w, {stride = "x"})
    raises("padding wants", ops.conv2d, x, w, {padding = {1, 2, 3}})
    raises("dim", ops.softmax, x, {dim = 0})
    raises("dim", ops.softmax, x, {dim = 3})
    raises("options have names", ops.softmax, x, {[true] = 1})
  end)
end)

describe("convolutions from Lua", function()
  local x = pelk.randn(2, 9, 8, 3)

  it("take pairs and same", function()
    local w = pelk.randn(4, 3, 3, 3)
    assert.same({2, 7, 6, 4}, ops.conv2d(x, w):shape())
    assert.same({2, 4, 6, 4}, ops.conv2d(x, w, {stride = {2, 1}}):shape())
    assert.same({2, 9, 8, 4}, ops.conv2d(x, w, {padding = "same"}):shape())
    assert.same({2, 9, 8, 4}, ops.conv2d(x, w, {padding = {1, 1}}):shape())
  end)

  it("peripheral: equals the dense convolution with the expanded kernel, in every spelling", function()
    local grid = pelk.grid(13, {radius = 2})
    local w = pelk.randn(#grid, #grid, 3)
    local dense = pelk.expand_kernel(w, grid)
    close(dense, ops.expand_kernel(w, {kernel = 13}))
    assert.same({13, 13, 3}, dense:shape())
    local y = ops.peripheral_conv(x, w, {kernel = 13})
    close(y, ops.depthwise_conv(x, dense), 1e-4)
    close(y, ops.peripheral_conv(x, w, {grid = grid}), 1e-4)
    local h = pelk.randn(13, 13)
    local with = ops.peripheral_conv(x, w, {kernel = 13}, h, "valid")
    close(with, ops.peripheral_conv(x, w, h, {kernel = 13}), 1e-4)
    close(with, ops.peripheral_conv(x, w, {kernel = 13, position_mode = "valid"}, h), 1e-4)
    close(y, ops.peripheral_conv(x, w, {kernel = 13}, h, "off"), 1e-4)
    assert.is_false((y:allclose(with)))
    raises("one of valid|all|off", ops.peripheral_conv, x, w, {kernel = 13}, h, "some")
  end)
end)

describe("nothing at all", function()
  it("is no kernel", function()
    local x, w = pelk.zeros(1, 8, 8, 4), pelk.zeros(0, 0, 4)
    raises("peripheral_conv: w has no bands", ops.peripheral_conv, x, w, { kernel = 9 })
    raises("expand_kernel: w has no bands", ops.expand_kernel, w, { kernel = 9 })
  end)

  it("goes through an MLP, and back", function()
    local w1, w2 = pelk.ones(8, 4):requires_grad_(), pelk.ones(3, 8):requires_grad_()
    local y = ops.mlp(pelk.zeros(0, 4), w1, nil, w2)
    assert.same({ 0, 3 }, y:shape())
    y:sum():backward()
    assert.equal(0, w1.grad:abs():max():item() + w2.grad:abs():max():item())
  end)
end)

describe("values at the edges", function()
  it("stay what they are", function()
    local x = pelk.tensor { -1 / 0, 1 / 0, 0 / 0, -30 }
    local y = x:gelu():flat()
    assert.truthy(math.abs(y[1]) < 1e-40 and y[2] == 1 / 0 and y[3] ~= y[3] and math.abs(y[4]) < 1e-40)
  end)

  it("number of inputs", function()
    local list = {}
    for i = 1, 17 do list[i] = pelk.ones(1) end
    raises("concat: too many inputs, .* at most 16", ops.concat, list)
  end)
end)

describe("ops.list", function()
  it("takes a pattern", function()
    assert.equal("global_avg_pool(x)", tostring(ops.list("^global")))
    raises("pattern must be a string", ops.list, 3)
    raises("malformed pattern", ops.list, "[")
  end)

  local list = ops.list()

  it("describes every op", function()
    assert.is_true(#list > 30)
    local by_name = {}
    for _, op in ipairs(list) do
      by_name[op.name] = op
      assert.is_function(ops[op.name], op.name)
      assert.is_true(#op.doc > 0, op.name .. " has no doc")
      assert.is_true(#op.inputs > 0, op.name)
      for _, p in ipairs(op.parameters) do
        assert.is_string(p.type)
        assert.is_true(#p.doc > 0, op.name .. "." .. p.name .. " has no doc")
      end
    end
    assert.is_true(by_name.linear.differentiable)
    assert.is_false(by_name.eq.differentiable)
    assert.is_true(by_name.linear.inputs[3].optional)
  end)

  it("prints signatures", function()
    assert.truthy(tostring(list):find("linear(x, w, b?)", 1, true))
  end)
end)

describe("differentiable ops", function()
  it("say so when they are not", function()
    local x = pelk.ones(2):requires_grad_()
    raises("no gradient", ops.eq, x, x)
    assert.same({1, 1}, pelk.no_grad(ops.eq, x, x):tolist())
  end)
end)
