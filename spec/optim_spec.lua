-- Optimisers against their papers' formulas in plain Lua, groups and layer-wise decay, averages of weights.
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

  it("warms up as timm's: step n's decay is 1 - n^(-2/3) at most", function()
    local m = linear(0, 0)
    local ema = pelk.optim.ema(m, { decay = 0.9999, warmup = true })
    local expected = 0
    for step = 1, 3 do
      set(m, step, 0)
      ema:step()
      local d = 1 - step ^ (-2 / 3)
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

-- One step of each in double precision, from the papers; p = {w, g, m, v} lists of one parameter.
local formulas = {}

local function norm(list)
  local sum = 0
  for _, x in ipairs(list) do sum = sum + x * x end
  return math.sqrt(sum)
end

function formulas.adamw(p, o, t)
  for i, g in ipairs(p.g) do
    p.m[i] = o.beta1 * p.m[i] + (1 - o.beta1) * g
    p.v[i] = o.beta2 * p.v[i] + (1 - o.beta2) * g * g
    local m, v = p.m[i] / (1 - o.beta1 ^ t), p.v[i] / (1 - o.beta2 ^ t)
    p.w[i] = p.w[i] * (1 - o.lr * o.weight_decay) - o.lr * m / (math.sqrt(v) + o.eps)
  end
end

function formulas.sgd(p, o, t) -- Nesterov's, as PyTorch writes it
  for i, g in ipairs(p.g) do
    g = g + o.weight_decay * p.w[i]
    p.m[i] = t == 1 and g or o.momentum * p.m[i] + g
    p.w[i] = p.w[i] - o.lr * (g + o.momentum * p.m[i])
  end
end

function formulas.lamb(p, o, t)
  local update = {}
  for i, g in ipairs(p.g) do
    p.m[i] = o.beta1 * p.m[i] + (1 - o.beta1) * g * o.clip
    p.v[i] = o.beta2 * p.v[i] + (1 - o.beta2) * (g * o.clip) ^ 2
    local m, v = p.m[i] / (1 - o.beta1 ^ t), p.v[i] / (1 - o.beta2 ^ t)
    update[i] = m / (math.sqrt(v) + o.eps) + o.weight_decay * p.w[i]
  end
  local ratio = o.weight_decay > 0 and norm(p.w) / norm(update) or 1
  for i, u in ipairs(update) do p.w[i] = p.w[i] - o.lr * ratio * u end
end

local options = {
  adamw = { lr = 0.02, beta1 = 0.9, beta2 = 0.99, eps = 1e-8, weight_decay = 0.3 },
  sgd = { lr = 0.02, momentum = 0.9, nesterov = true, weight_decay = 0.3 },
  lamb = { lr = 0.02, beta1 = 0.9, beta2 = 0.99, eps = 1e-6, weight_decay = 0.3, max_grad_norm = 0.5 },
}

-- Set the gradients of a model, and take its values, as flat lists by name.
local function set_grads(m, t)
  local grads = {}
  for _, pair in ipairs(m:named_parameters()) do
    local g = pair.tensor.grad
    pelk.manual_seed(100 * t + g:numel())
    pelk.no_grad(function() g:copy_(pelk.randn(g:shape())) end)
    grads[pair.name] = g:flat()
  end
  return grads
end

describe("optimisers", function()
  for kind, o in pairs(options) do
    it(kind .. " is its paper's formula, with a group of its own rate and decay", function()
      pelk.manual_seed(4)
      local m = pelk.nn.Sequential(pelk.nn.Linear(37, 21), pelk.nn.Linear(21, 3))
      local given = { groups = { { match = "^1%.weight", lr_scale = 0.5, weight_decay = 0.1 } } }
      for k, v in pairs(o) do given[k] = v end
      local opt = pelk.optim[kind](m, given)
      local ours, theirs = {}, {}
      for _, pair in ipairs(m:named_parameters()) do
        local w, zeros = pair.tensor:flat(), {}
        for i = 1, #w do zeros[i] = 0.0 end
        theirs[pair.name] = { w = w, m = zeros, v = { table.unpack(zeros) } }
      end
      for t = 1, 3 do
        opt:zero_grad()
        local all = {}
        for name, g in pairs(set_grads(m, t)) do
          theirs[name].g = g
          for _, x in ipairs(g) do all[#all + 1] = x end
        end
        opt:step()
        for name, p in pairs(theirs) do
          local own = setmetatable({ clip = math.min(1, 0.5 / norm(all)) }, { __index = o })
          own.weight_decay = name:find("bias") and 0 or o.weight_decay
          if name == "1.weight" then own.lr, own.weight_decay = o.lr * 0.5, 0.1 end
          formulas[kind](p, own, t)
        end
      end
      for _, pair in ipairs(m:named_parameters()) do ours[pair.name] = pair.tensor:flat() end
      for name, p in pairs(theirs) do
        for i, w in ipairs(p.w) do
          assert(math.abs(w - ours[name][i]) < 2e-6 * (1 + math.abs(w)), ("%s[%d]: %.9g, expected %.9g"):format(name, i,
            ours[name][i], w))
        end
      end
    end)
  end

  it("LAMB scales every parameter's update, whatever its size, the same on any number of threads", function()
    local before, reference = pelk.threads(), nil
    for threads = 1, 3 do
      pelk.set_threads(threads)
      pelk.manual_seed(4)
      local m = pelk.nn.Linear(301, 211)
      local opt = pelk.optim.lamb(m, { lr = 0.1 })
      opt:zero_grad()
      set_grads(m, 1)
      local w = m:state_dict().weight:clone()
      opt:step()
      local moved = ((m:state_dict().weight - w) ^ 2):sum():item() ^ 0.5
      assert(math.abs(moved / (0.1 * (w ^ 2):sum():item() ^ 0.5) - 1) < 1e-4)
      reference = reference or m
      assert(m:state_dict().weight:equal(reference:state_dict().weight))
    end
    pelk.set_threads(before)
  end)

  it("layer decay follows ConvNeXt's numbering", function()
    local small = { dims = { 8, 8, 8, 8 }, num_classes = 2, drop_path = 0 }
    for model, count in pairs({ convnext_tiny = 6, convnext_base = 12, pelk_small = 12 }) do
      local m = pelk.models.create(model, small)
      local opt = pelk.optim.adamw(m, { layer_decay = 0.7 })
      local scale = {}
      for _, p in ipairs(opt:parameters()) do scale[p.name] = p.lr_scale end
      local function layer(name, number)
        assert(scale[name], name)
        assert(math.abs(scale[name] - 0.7 ^ (count + 1 - number)) < 1e-12, ("%s: %g"):format(name, scale[name]))
      end
      layer("stem.0.weight", 0)
      layer("stages.0.blocks.2.gamma", 1)
      layer("stages.1.downsample.1.weight", 2)
      layer("stages.1.blocks.0.gamma", 2)
      layer("stages.2.downsample.0.bias", 3)
      layer("stages.2.blocks.2.gamma", 3)
      layer("stages.2.blocks.3.gamma", 4)
      layer("stages.2.blocks.8.gamma", 5)
      layer("stages.3.downsample.0.bias", count)
      layer("stages.3.blocks.1.mlp.fc1.weight", count)
      layer("head.norm.weight", count + 1)
      layer("head.fc.weight", count + 1)
      if model == "pelk_small" then layer("stages.2.position", 3) end
    end
    local frozen = pelk.models.create("convnext_tiny", small)
    frozen:freeze("^stages%.0")
    for _, p in ipairs(pelk.optim.adamw(frozen, { layer_decay = 0.7 }):parameters()) do
      if p.name == "stages.2.blocks.2.gamma" then assert(math.abs(p.lr_scale - 0.7 ^ 4) < 1e-12) end
      if p.name == "stages.1.blocks.0.gamma" then assert(math.abs(p.lr_scale - 0.7 ^ 5) < 1e-12) end
    end
    local m = pelk.nn.Sequential(pelk.nn.Linear(2, 2), pelk.nn.Lambda(function(x) return x end), pelk.nn.Linear(2, 2))
    local p = pelk.optim.sgd(m, { layer_decay = 0.5 }):parameters()
    assert.are.same({ 0.5, 0.5, 1, 1 }, { p[1].lr_scale, p[2].lr_scale, p[3].lr_scale, p[4].lr_scale })
  end)

  it("take nothing over when their options are wrong", function()
    local m = pelk.nn.Linear(2, 2)
    local first = pelk.optim.sgd(m)
    help.raises("no parameter matches '%^typo'", pelk.optim.adamw, m, { groups = { { match = "^typo" } } })
    m(pelk.ones(1, 2)):sum():backward()
    first:step()
    assert(first:belong_to(m) and first:belong_to(pelk.nn.Sequential(m)))
    assert(not first:belong_to(pelk.nn.Linear(2, 2)))
  end)

  it("move as they should where beta2 is nearly 1", function()
    for _, kind in ipairs { "adamw", "lamb" } do
      local m = linear(1, 1)
      local opt = pelk.optim[kind](m, { lr = 1e-3, beta2 = 0.99999999, weight_decay = 0 })
      m(pelk.ones(1, 1)):sum():backward()
      opt:step()
      assert.near(1 - 1e-3, value(m, "weight"), 1e-5)
    end
  end)

  it("count a gradient once in the common norm, wherever its layer stands", function()
    local layer = pelk.nn.Linear(6, 6)
    local m = pelk.nn.Sequential(layer, pelk.nn.ReLU(), layer)
    m(pelk.randn(5, 6)):sum():backward()
    local w, b = layer.weight.grad, layer.bias.grad
    local all_of_it = math.sqrt((w * w):sum():item() + (b * b):sum():item())
    assert.near(all_of_it, pelk.optim.grad_norm(m), 1e-5 * all_of_it)
    pelk.optim.clip_grad_norm(m, all_of_it / 3)
    assert.near(all_of_it / 3, pelk.optim.grad_norm(m), 1e-4 * all_of_it)
  end)

  it("say what was given and what was wanted", function()
    local m = linear(1, 1)
    help.raises("layer_decay must be a number in", pelk.optim.adamw, m, { layer_decay = 2 })
    help.raises("no parameter matches 'stem'", pelk.optim.adamw, m, { groups = { { match = "stem" } } })
    help.raises("did you mean 'lr_scale'", pelk.optim.lamb, m, { groups = { { match = "weight", lr_scal = 1 } } })
    help.raises("did you mean 'max_grad_norm'", pelk.optim.lamb, m, { max_grad_nrm = 1 })
  end)
end)
