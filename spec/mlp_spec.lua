-- The MLP of a block as one op: what it refuses, what it keeps, and that blocks which run it are what their parts say.
local pelk = require("pelk")
local nn = require("pelk.core").nn
local fails = require("spec.help").raises
local ops = pelk.ops

local function close(a, b, what)
  local ok, worst = a:allclose(b, { rtol = 1e-4, atol = 1e-5 })
  assert(ok, (what or "") .. ": largest difference " .. tostring(worst))
end

local function random(...) return (pelk.randn({ ... }) * 0.3):requires_grad_(true) end

local function gamma_of(block)
  for _, pair in ipairs(block:named_parameters()) do
    if pair.name == "gamma" then return pair.tensor end
  end
end

describe("ops.mlp", function()
  it("is what stands in its doc, by hand", function()
    -- gelu is the identity far above 0 and nothing far below: 2 hidden values, one of each kind
    local x, w1, b1 = pelk.tensor({ { 1, 2 } }), pelk.tensor({ { 1, 3 }, { 5, 5 } }), pelk.tensor({ 20, -100 })
    local w2, b2 = pelk.tensor({ { 2, 7 } }), pelk.tensor({ 0.5 })
    assert.are.same({ { 54.5 } }, ops.mlp(x, w1, b1, w2, b2):tolist()) -- 2 * (1 + 6 + 20) + 0.5
    local gamma, shortcut = pelk.tensor({ 10 }), pelk.tensor({ { 3 } })
    assert.are.same({ { 548 } }, ops.mlp(x, w1, b1, w2, b2, nil, nil, gamma, shortcut):tolist())
  end)

  it("keeps the hidden values or makes them again: the same gradients, other memory", function()
    local rows, width, hidden = 4000, 24, 96
    local function run(recompute)
      pelk.manual_seed(4)
      local t = { random(2, rows // 2, width), random(hidden, width), random(hidden), random(width, hidden),
        random(width), random(width), random(width), random(width), random(2, rows // 2, width) }
      collectgarbage()
      collectgarbage()
      collectgarbage("stop") -- what others left behind does not go in between
      local before = pelk.memory().live
      local y <close> = ops.mlp(t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9],
        { norm = "layer", p = 0.5, seed = 3, recompute = recompute })
      local kept = pelk.memory().live - before
      collectgarbage("restart")
      local dy <close> = pelk.randn(y:shape())
      y:backward(dy)
      return t, kept
    end
    local always, little = run("always")
    local never, much = run("never")
    local auto, as_auto = run("auto") -- 4000 * 96 hidden values against 2 * 24 * 96 weights
    assert(much - little >= 4 * rows * hidden, ("%d and %d bytes"):format(much, little))
    assert(math.abs(as_auto - little) < 4096, ("%d and %d bytes"):format(as_auto, little))
    for i = 1, 9 do
      assert(always[i].grad:equal(never[i].grad), "gradient " .. i)
      assert(always[i].grad:equal(auto[i].grad), "gradient " .. i)
    end
  end)

  it("leaves dropped samples as the shortcut, with no gradient to the branch", function()
    local x, w1, w2, shortcut = random(3, 5, 4), random(8, 4), random(4, 8), random(3, 5, 4)
    local y = ops.mlp(x, w1, nil, w2, nil, nil, nil, nil, shortcut, { p = 1, seed = 1 })
    assert(y:equal(shortcut))
    y:sum():backward()
    assert.are.equal(0, x.grad:abs():sum():item() + w1.grad:abs():sum():item() + w2.grad:abs():sum():item())
    assert.are.equal(60, shortcut.grad:sum():item())
    assert(ops.mlp(x, w1, nil, w2, nil, nil, nil, nil, shortcut, { p = 1, training = false }):equal(
      ops.mlp(x, w1, nil, w2, nil, nil, nil, nil, shortcut)))
  end)

  it("says what does not fit", function()
    local x, w1, w2 = pelk.zeros(2, 4), pelk.zeros(8, 4), pelk.zeros(4, 8)
    fails("mlp: w1 has shape {8,3}, {8,4} is wanted", ops.mlp, x, pelk.zeros(8, 3), nil, w2)
    fails("mlp: w2 has shape {4,7}, {4,8} is wanted", ops.mlp, x, w1, nil, pelk.zeros(4, 7))
    fails("mlp: w1 has shape {8,1,2,4}, {8,1,1,4} is wanted", ops.mlp, x, pelk.zeros(8, 1, 2, 4), nil, w2)
    fails("mlp: gamma has shape {3}", ops.mlp, x, w1, nil, w2, nil, nil, nil, pelk.zeros(3))
    fails("norm_weight is given, but norm is 'none'", ops.mlp, x, w1, nil, w2, nil, pelk.zeros(4))
    fails("mlp: shortcut has shape {2,3}", ops.mlp, x, w1, nil, w2, nil, nil, nil, nil, pelk.zeros(2, 3))
    fails("recompute", ops.mlp, x, w1, nil, w2, { recompute = "sometimes" })
  end)
end)

describe("a block", function()
  local function block(o)
    pelk.manual_seed(8)
    local b = nn.Block(o)
    gamma_of(b):fill_(0.7)
    return b
  end

  it("gives what its parts give one by one, and their gradients", function()
    for _, o in ipairs({ { channels = 16, mixer = "dense", kernel = 7, partial = 1, reparam = false, small_kernel = 0 },
      { channels = 16, kernel = 13, recompute = "always" }, { channels = 24, kernel = 9, recompute = "never" } }) do
      local b, x = pelk.no_grad(block, o), pelk.randn({ 2, 9, 7, o.channels }):requires_grad_(true)
      local dy = pelk.randn({ 2, 9, 7, o.channels })
      local grads = {}
      for i, way in ipairs({ function() return b(x) end, function()
        local h = ops.gelu(b:get("mlp.fc1")(b:get("norm")(b:get("conv_dw")(x))))
        return ops.scale_residual(b:get("mlp.fc2")(h), gamma_of(b), x)
      end }) do
        b:zero_grad()
        x:zero_grad()
        local y = way()
        y:backward(dy)
        grads[i] = { y = y, x = x.grad:clone() }
        for _, pair in ipairs(b:named_parameters()) do grads[i][pair.name] = pair.tensor.grad:clone() end
      end
      for name, g in pairs(grads[1]) do close(g, grads[2][name], name) end
    end
  end)

  it("is profiled and counted by its parts", function()
    local b = nn.Block({ channels = 16, kernel = 13 })
    local seen = {}
    for _, row in ipairs(b:profile(pelk.randn({ 1, 9, 9, 16 }), { repeats = 1 })) do seen[row.path] = row end
    assert(seen["mlp.fc1"] and seen["mlp.fc2"] and seen.norm, "rows of the parts")
  end)

  it("passes its choice of what is kept from the model down", function()
    local m = pelk.models.create("pelk_nano", { recompute = "never" })
    assert.are.equal("never", m:get("stages.0.blocks.0"):options().recompute)
    assert.are.equal("auto", pelk.models.create("pelk_nano"):get("stages.0.blocks.0"):options().recompute)
    fails("recompute is not 'auto'", pelk.models.create, "replknet_31b", { recompute = "always" })
  end)
end)
