-- Effective receptive fields: convolutions whose field is known by hand, squares counted by hand.

local pelk = require "pelk"
local core = require "pelk.core"
local viz = require "pelk.viz"
local nn = core.nn

local help = require "spec.help"
local raises = help.raises
local dir

setup(function() dir = help.folder() end)
teardown(function() help.remove(dir) end)

local quiet = { progress = false }

local function with(more)
  local o = { progress = false }
  for key, value in pairs(more) do o[key] = value end
  return o
end

-- A depthwise convolution of one channel with these weights (a function of row and column from 0).
local function convolution(k, weight, more)
  local o = { channels = 1, kernel = k }
  for key, value in pairs(more or {}) do o[key] = value end
  local layer = nn.DepthwiseConv(o)
  core.no_grad(function()
    for y = 1, k do
      for x = 1, k do layer.weight[y][x]:fill_(weight(y - 1, x - 1)) end
    end
  end)
  return layer
end

local function one() return 1 end

describe("the effective receptive field", function()
  it("of a convolution is its kernel", function()
    local r = viz.erf(convolution(9, one), pelk.ones { 2, 33, 33, 1 }, quiet)
    for y = 1, 33 do
      for x = 1, 33 do
        local inside = math.abs(y - 17) <= 4 and math.abs(x - 17) <= 4
        assert.equal(inside and 1 or 0, r.map[y][x]:item())
      end
    end
    -- 81 equal values: more than 20 % are 17, so side 5; 30 % 25 > 24.3, side 5; 50 % 49 > 40.5; 99 % 81.
    assert.same({ [20] = 5, [30] = 5, [50] = 7, [99] = 9 }, r.sides)
    assert.near(49 / 1089, r.ratios[50], 1e-12)
    assert.near(81 / 1089, r.ratios[99], 1e-12)
    assert.equal(2, r.n)
    assert.equal(0, r.skipped)
  end)

  it("of two is their product, and signs are cut off in the gradient", function()
    local m = nn.Sequential(convolution(3, one), convolution(3, one))
    local r = viz.erf(m, pelk.ones { 1, 9, 9, 1 }, quiet)
    local triangle = { 0, 0, 1, 2, 3, 2, 1, 0, 0 }
    for y = 1, 9 do
      for x = 1, 9 do assert.near(triangle[y] * triangle[x], r.map[y][x]:item(), 1e-5) end
    end
    assert.near(math.log(5, 10) / math.log(10, 10), r.log_map[4][4]:item(), 1e-6)
    -- alternating signs: the kernel turned round is what the gradient shows, negative weights vanish
    local signed = convolution(3, function(y, x) return (y == 0 and x == 2) and 2 or -0.125 end)
    r = viz.erf(signed, pelk.ones { 1, 7, 7, 1 }, quiet)
    assert.near(2, r.map[3][5]:item(), 1e-6) -- y[c] = sum w[i][j] x[c + i - 1][c + j - 1]
    assert.near(2, r.map:sum():item(), 1e-6)
  end)

  it("is empty where the rectified score is not above 0", function()
    local r = viz.erf(convolution(3, function() return -1 end), pelk.ones { 1, 7, 7, 1 }, quiet)
    assert.equal(0, r.map:sum():item())
    assert.same({ [20] = false, [30] = false, [50] = false, [99] = false }, r.sides)
  end)

  it("looks at output {h/2, w/2}, strides or not", function()
    local patch = nn.Conv2d { in_channels = 1, out_channels = 1, kernel = 4, stride = 4, padding = 0 }
    core.no_grad(function() patch.weight:fill_(0.5) end)
    local r = viz.erf(patch, pelk.ones { 1, 32, 24, 1 }, quiet) -- 8 x 6 outputs: row 4, column 3 from 0
    for y = 1, 32 do
      for x = 1, 24 do
        local inside = y >= 17 and y <= 20 and x >= 13 and x <= 16
        assert.equal(inside and 0.5 or 0, r.map[y][x]:item())
      end
    end
  end)

  it("of a peripheral kernel is its expanded kernel", function()
    local layer = nn.PeripheralConv { channels = 1, kernel = 13, position_mode = "off" }
    core.no_grad(function() layer.weight:copy_(layer.weight:abs()) end)
    local dense = pelk.expand_kernel(layer.weight:detach(), pelk.grid(13))
    local r = viz.erf(layer, pelk.ones { 1, 31, 31, 1 }, quiet)
    for y = 1, 13 do
      for x = 1, 13 do assert.near(dense[y][x]:item(), r.map[y + 9][x + 9]:item(), 1e-6) end
    end
    assert.near(dense:sum():item(), r.map:sum():item(), 1e-4)
  end)

  it("averages pictures, skips those that are not finite, sums colours", function()
    local square = nn.Lambda(function(x) return (x * x):sum(4):unsqueeze(4) end)
    local x = pelk.ones { 3, 5, 5, 3 }
    x[2]:fill_(3)
    x[3][1][1]:fill_(0 / 0)
    x[3][3][3]:fill_(0 / 0)
    local r = viz.erf(square, x, quiet) -- gradient 2 x a colour at the centre
    assert.equal(2, r.n)
    assert.equal(1, r.skipped)
    assert.near((6 + 18) / 2, r.map[3][3]:item(), 1e-5)
    assert.near(12, r.map:sum():item(), 1e-5)
    assert.truthy(tostring(r):find("1 pictures skipped"))
  end)

  it("says both ratios: the logarithm is not free of scale", function()
    local m = convolution(15, function(y, x) return 10 * 0.5 ^ (math.abs(y - 7) + math.abs(x - 7)) end)
    local r = viz.erf(m, pelk.ones { 4, 33, 33, 1 }, quiet)
    local function side(scale, share) -- the definition, in plain numbers
      local values, total = {}, 0
      for y = -7, 7 do
        values[y] = {}
        for x = -7, 7 do
          values[y][x] = math.log(1 + scale * 10 * 0.5 ^ (math.abs(y) + math.abs(x)), 10)
          total = total + values[y][x]
        end
      end
      for i = 1, 7 do
        local sum = 0
        for y = -i, i do
          for x = -i, i do sum = sum + values[y][x] end
        end
        if sum > share * total then return 2 * i + 1 end
      end
    end
    for _, share in ipairs { 20, 30, 50, 99 } do
      assert.equal(side(1, share / 100), r.sides[share])
      assert.near(side(4, share / 100) ^ 2 / 33 ^ 2, r.ratios_of_sum[share], 1e-12)
    end
  end)

  it("leaves the model as it was, takes bytes and sizes, draws itself", function()
    pelk.manual_seed(3)
    local m = pelk.models.create("pelk_nano", { in_channels = 3 })
    m:get("stages.1"):eval()
    m:freeze("^stem")
    local before = {}
    for name, t in m:named_parameters() do before[name] = t.requires_grad end
    local bytes = pelk.zeros({ 2, 40, 50, 3 }, { dtype = "uint8" }):copy_(core.randint(0, 255, { 2, 40, 50, 3 }))
    local r = viz.erf(m, bytes, with { size = { 32, 48 }, stage = 2, shares = { 50 } })
    assert.same({ 32, 48 }, r.map:shape())
    for name, t in m:named_parameters() do
      assert.equal(before[name], t.requires_grad)
      assert.is_nil(t.grad)
    end
    assert.is_true(m.training)
    assert.is_false(m:get("stages.1").training)
    assert.is_false(m:get("stages.1.blocks.0").training)
    assert.is_true(m:get("stages.2.blocks.0").training)
    assert.is_true(r:save_png(dir .. "/erf.png"))
    assert.truthy(tostring(r):find("50 %%"))
    local loader = pelk.data.loader(pelk.data.tensors(bytes), { batch = 2 })
    assert.equal(2, viz.erf(m, loader, quiet).n)
  end)

  it("refuses nonsense", function()
    local m = convolution(3, one)
    raises("must be a pelk.Module", viz.erf, 3, pelk.ones { 1, 5, 5, 1 })
    raises("did you mean 'stage'", viz.erf, m, pelk.ones { 1, 5, 5, 1 }, { stagge = 1 })
    raises("has no stages", viz.erf, m, pelk.ones { 1, 5, 5, 1 }, with { stage = 1 })
    raises("wants pictures", viz.erf, m, 7, quiet)
    raises("wants pictures", viz.erf, m, pelk.ones { 5 }, quiet)
    raises("empty list", viz.erf, m, {}, quiet)
    raises("different sizes", viz.erf, m, { pelk.ones { 5, 5, 1 }, pelk.ones { 6, 5, 1 } }, quiet)
    raises("none of 1 pictures", viz.erf, nn.Lambda(function(x) return x * (0 / 0) end), pelk.ones { 1, 5, 5, 1 },
      quiet)
    raises("does not depend", viz.erf, nn.Lambda(function() return pelk.ones { 1, 3, 3, 1 }:requires_grad_(true) end),
      pelk.ones { 1, 5, 5, 1 }, quiet)
    raises("holds %-1", core.erf_normalize, pelk.tensor { { -1, 0 } })
    raises("between 0 and 1", core.erf_side, pelk.ones { 3, 3 }, 1)
  end)
end)

describe("heat maps", function()
  it("have a frame, a bar with numbers and texts", function()
    local t = pelk.tensor { { 0, 1 }, { 2, 3 } }
    local pixels = core.picture_heatmap(t, { scale = 100 })
    assert.same({ 20 + 200 + 20, 40 + 200 + 20 + 18 + 9 + 96, 3 }, pixels:shape())
    assert.same(core.picture(t, { colormap = "magma" })[2][1]:flat(), pixels[20 + 150][20 + 50]:flat())
    assert.same({ 40, 44, 52 }, pixels[20][60]:flat()) -- the frame
    local taller = core.picture_heatmap(t, { scale = 100 }, "TITLE", "NOTE")
    assert.equal(240 + 2 * 22, taller:size(1))
    assert.is_true(viz.heatmap(t, dir .. "/h.png", { title = "a", min = 0, max = 9 }))
    raises("wants {H,W}", viz.heatmap, pelk.ones { 2, 2, 3 }, dir .. "/x.png")
    raises("wants float32 or uint8", viz.heatmap, pelk.ones { 2 }, dir .. "/x.png")
  end)
end)
