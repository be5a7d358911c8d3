-- Re-parameterisation: merged models compute what they did before, on random weights and random running statistics.
local pelk = require("pelk")
local help = require("spec.help")
local nn = pelk.nn

local function randomise(m) return help.randomise(m, 0.1) end
local apart = help.apart

-- Merge a copy and compare; returns the copy and the report.
local function check(m, x, options)
  local before = m(x)
  local merged, report = m:clone():merge(options)
  local d = apart(merged(x), before)
  assert(d < 1e-5, ("merged and unmerged differ by %.2g"):format(d))
  return merged, report
end

local function has(report, kind, text)
  for _, row in ipairs(report) do
    if row.kind == kind and row.text:find(text, 1, true) then return row.path end
  end
end

local function parameters(m)
  local n = 0
  for _, p in ipairs(m:parameters()) do n = n + p:numel() end
  return n
end

local fails = help.raises

describe("batch norms", function()
  before_each(function() pelk.manual_seed(11) end)

  it("fold into the layer before them: conv2d, depthwise, stripes, linear", function()
    local m = randomise(nn.Sequential(nn.Conv2d(3, 8, { kernel = 3, stride = 2, padding = 1, bias = false }),
      nn.BatchNorm(8), nn.ReLU(), nn.DepthwiseConv(8, 5), nn.BatchNorm(8), nn.GELU(),
      nn.StripeConv({ channels = 8, kernel = 7, short_side = 3, bias = false }), nn.BatchNorm(8),
      nn.Conv2d(8, 8, { kernel = 3, groups = 2 }), nn.BatchNorm(8),
      nn.GlobalAvgPool(), nn.Linear(8, 5), nn.BatchNorm(5)))
    local merged, report = check(m, pelk.randn({ 2, 19, 16, 3 }))
    assert.are.equal(5, #report)
    assert.are.equal("Identity", merged[2]:class())
    assert.are.same({ 8 }, merged[1].bias:shape())
    assert(tostring(report):find("batch norm into 0"))
  end)

  it("by hand: w = 3, mean 1, variance 4, gamma 2, beta 5 give w = 3, b = 4", function()
    local m = nn.Sequential(nn.Linear(1, 1, { bias = false }), nn.BatchNorm(1, { eps = 0 }))
    m:load_state_dict({ ["0.weight"] = pelk.tensor({ { 3 } }), ["1.weight"] = pelk.tensor({ 2 }),
      ["1.bias"] = pelk.tensor({ 5 }), ["1.running_mean"] = pelk.tensor({ 1 }),
      ["1.running_var"] = pelk.tensor({ 4 }) })
    m:merge()
    assert.are.same({ 3, 4 }, { m[1].weight:item(), m[1].bias:item() })
  end)

  it("fold into the layer behind them where no zeros are padded", function()
    local m = randomise(nn.Sequential(nn.BatchNorm(6), nn.Conv2d(6, 4, { kernel = 2, stride = 2, groups = 2 }),
      nn.ReLU(), nn.BatchNorm(4), nn.DepthwiseConv(4, 3, { padding = 0 }), nn.ReLU(), nn.BatchNorm(4),
      nn.GlobalAvgPool(), nn.Linear(4, 3)))
    local merged, report = check(m, pelk.randn({ 2, 9, 11, 6 }))
    assert.are.equal(3, #report)
    assert.are.equal("Identity", merged[1]:class())
  end)

  it("stay where nothing can take them up, and the report says so", function()
    local m = randomise(nn.Sequential(nn.BatchNorm(3), nn.Conv2d(3, 3, { kernel = 3, padding = 1 }), nn.ReLU(),
      nn.BatchNorm(3), nn.ReLU(), nn.BatchNorm(3), nn.DepthwiseConv(3, 3)))
    local merged, report = check(m, pelk.randn({ 1, 7, 7, 3 }))
    assert.are.equal("BatchNorm", merged[1]:class())
    assert.are.equal(3, #report)
    assert.are.equal("0", has(report, "kept", "nothing beside it"))
  end)

  it("fold inside residual branches, not across them", function()
    local m = randomise(nn.Sequential(nn.Conv2d(3, 4, { kernel = 1 }),
      nn.Residual(nn.BatchNorm(4), nn.Linear(4, 4), nn.BatchNorm(4)), nn.BatchNorm(4), nn.Linear(4, 2)))
    local _, report = check(m, pelk.randn({ 1, 5, 5, 3 }))
    assert.are.equal(3, #report)
  end)

  it("replace weights and do not write to them: who holds the old ones keeps them", function()
    local m = randomise(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm(3)))
    local held, values = m[1].weight, m[1].weight:clone()
    m:merge()
    assert(held:equal(values) and not m[1].weight:equal(values))
  end)
end)

describe("random stacks of layers", function()
  local C = 4
  local makers = {
    function() return nn.BatchNorm(C) end,
    function() return nn.BatchNorm(C, { affine = false }) end,
    function(pick) return nn.Conv2d(C, C, { kernel = pick(1, 3), padding = pick(0, 1), bias = pick(0, 1) == 1 }) end,
    function(pick) return nn.Conv2d(C, C, { kernel = 3, padding = "same", groups = pick(1, 2) }) end,
    function(pick)
      return nn.DepthwiseConv(C, { kernel = pick(1, 3), padding = pick(0, 1), bias = pick(0, 1) == 1 })
    end,
    function(pick) return nn.StripeConv({ channels = C, kernel = 5, short_side = 3, bias = pick(0, 1) == 1 }) end,
    function(pick) return nn.PeripheralConv({ channels = C, kernel = 9, bias = pick(0, 1) == 1,
      position_mode = ({ "valid", "all", "off" })[pick(1, 3)] }) end,
    function(pick) return nn.Linear(C, C, { bias = pick(0, 1) == 1 }) end,
    function() return nn.ReLU() end,
    function() return nn.Identity() end,
    function(_, stack) return nn.Residual(table.unpack(stack())) end,
    function(_, stack) return nn.Sequential(table.unpack(stack())) end,
    function() return nn.LayerNorm(C) end,
    function(pick) return nn.PartialConv({ channels = C, kernel = 7, radius = pick(1, 2), partial = pick(1, 2) / 2,
      small_kernel = pick(0, 1) * 5 }) end,
    function() return nn.Block({ channels = C, kernel = 7, norm = "batch", layer_scale = 1 }) end,
  }

  it("merge to the same function", function()
    pelk.manual_seed(13)
    local folded = 0
    for _ = 1, 60 do
      local function pick(low, high) return pelk.randint(low, high, { 1 }):item() end
      local function stack(depth)
        local layers = {}
        for i = 1, pick(1, 5) do
          layers[i] = makers[pick(1, depth > 1 and 10 or #makers)](pick, function()
            local inner = stack(depth + 1)
            -- a residual branch keeps its size: paddings that do not are left out
            for j = #inner, 1, -1 do
              local o = inner[j]:options()
              if math.type(o.padding) and o.padding ~= (o.kernel - 1) / 2 then table.remove(inner, j) end
            end
            return inner
          end)
        end
        return layers
      end
      local _, report = check(randomise(nn.Sequential(table.unpack(stack(1)))), pelk.randn({ 1, 16, 15, C }))
      for _, row in ipairs(report) do folded = folded + (row.kind == "folded" and 1 or 0) end
    end
    assert(folded > 20)
  end)
end)

describe("merging", function()
  before_each(function() pelk.manual_seed(12) end)
  local x = pelk.randn({ 2, 40, 36, 1 })

  local function nano(overrides)
    local o = { depths = { 1, 2, 1 }, dims = { 16, 16, 24 }, kernels = { 31, 15, 7 } }
    for k, v in pairs(overrides or {}) do o[k] = v end
    return randomise(pelk.models.create("pelk_nano", o))
  end

  it("adds PeLK's small kernel to the shared one, and the position map stays exact", function()
    local m = nano()
    local merged, report = check(m, x)
    assert.are.same({ 11, 11, 6 }, merged:get("stages.0.blocks.0.conv_dw.reparam").weight:shape())
    assert.are.same({ 6, 1, 11, 11 }, merged:state_dict()["stages.0.blocks.0.conv_dw.reparam.weight"]:shape())
    assert.are.equal("stages.0.blocks.0.conv_dw", has(report, "merged", "31x31, shared on 11x11"))
    assert.are.equal(parameters(m) - (25 + 3) * (6 + 6 + 6 + 9), parameters(merged))
    -- another image size, another table; and back
    for _, size in ipairs({ { 9, 50 }, { 64, 33 }, { 9, 50 } }) do
      local other = pelk.randn({ 1, size[1], size[2], 1 })
      assert(apart(merged(other), m(other)) < 1e-5)
    end
    -- the table follows the weights
    pelk.no_grad(function()
      for _, model in ipairs({ m, merged }) do model:get("stages.0.position"):fill_(0.3) end
    end)
    assert(apart(pelk.no_grad(merged.forward, merged, x), m(x)) < 1e-5)
  end)

  it("handles every position mode and shape", function()
    for _, position in ipairs({ "valid", "all", "off" }) do
      for _, shape in ipairs({ "map", "channel" }) do
        local merged = check(nano({ position = position, position_shape = shape }), x)
        local left = pcall(merged.get, merged, "stages.0.position")
        assert.are.equal(position == "valid", left)
      end
    end
  end)

  it("expands, or refines the grid, where the fine centre does not hold the small kernel", function()
    local m = nano({ radius = 1 })
    local merged, report = check(m, x)
    assert.are.same({ 31, 31, 6 }, merged:get("stages.0.blocks.0.conv_dw.reparam").weight:shape())
    assert.are.equal("stages.0.blocks.0.conv_dw", has(report, "expanded", "does not hold 5x5"))
    merged, report = check(m, x, { expand = "refine" })
    assert.are.same({ 11, 11, 6 }, merged:get("stages.0.blocks.0.conv_dw.reparam").weight:shape())
    assert(has(report, "refined", "9x9 shared weights become 11x11"))
    check(nano({ small_kernel = 7 }), x)
    check(nano({ grid = { { 2, 1, 1, 1, 4 }, { 3, 2, 1, 1, 1, 1, 1, 1, 4 }, { 1, 3, 5 } } }), x, { expand = "refine" })
  end)

  it("works without branches, without batch norms, with dense kernels and none of the channels passed", function()
    check(nano({ small_kernel = 0 }), x)
    check(nano({ reparam = false }), x)
    check(nano({ partial = 1 }), x)
    check(nano({ mixer = "dense" }), x)
    check(nano({ norm = "batch" }), x)
    check(nano({ norm = "batch", mixer = "inception", partial = 0.125 }), x)
  end)

  it("makes one kernel or two of SLaK's stripes", function()
    local m = nano({ mixer = "stripe", partial = 1 })
    local merged = check(m, x, { slak = "dense" })
    assert.are.same({ 31, 31, 16 }, merged:get("stages.0.blocks.0.conv_dw.reparam").weight:shape())
    merged = check(m, x, { slak = "stripe" })
    assert.are.same({ 7, 5, 24 }, merged:get("stages.2.blocks.0.conv_dw.reparam.tall").weight:shape())
    assert.are.same({ 5, 7, 24 }, merged:get("stages.2.blocks.0.conv_dw.reparam.wide").weight:shape())
    merged = check(m, x)
    assert.are.equal("StripeConv", merged:get("stages.0.blocks.0.conv_dw.reparam"):class())
    assert.are.equal("DepthwiseConv", merged:get("stages.2.blocks.0.conv_dw.reparam"):class())
  end)

  it("folds RepLKNet's blocks, their first norms too", function()
    local m = randomise(nn.Sequential(nn.RepLKBlock({ channels = 6, kernel = 13 }), nn.ConvFFN({ channels = 6 })))
    local y = pelk.randn({ 2, 9, 10, 6 })
    local merged, report = check(m, y)
    for _, row in ipairs(merged:modules()) do assert.are_not.equal("BatchNorm", row.module:class()) end
    assert.are.equal("0", has(report, "folded", "into pw1") and "0")
    -- only the large kernel: what RepLKNet's merge_kernel does
    merged = check(m, y, { batch_norms = false })
    assert.are.equal(parameters(m) - 6 * (25 + 3), parameters(merged))
  end)

  it("keeps gradients right: a merged model trains", function()
    local m = nano()
    local merged = m:clone():merge()
    local y = pelk.randn({ 1, 12, 12, 1 }):requires_grad_(true)
    local z = pelk.randn({ 1, 12, 12, 1 })
    z:copy_(y:detach())
    z:requires_grad_(true)
    m(y):sum():backward()
    merged(z):sum():backward()
    assert(apart(z.grad, y.grad) < 1e-4)
    -- h is shared, so its gradient is the same whether kernels are merged or not
    local name = "stages.0.position"
    assert(apart(merged:get(name).grad, m:get(name).grad) < 1e-4)
  end)

  it("is told to be done twice, or with one module in two places", function()
    local m = nano():merge()
    fails("merge: this Model has been merged before", m.merge, m)
    fails("merged before", m.merge, m:clone())
    local conv = nn.Conv2d(3, 3)
    fails("Conv2d has two places in this Sequential", pelk.Module.merge, nn.Sequential(conv, nn.BatchNorm(3), conv))
    fails("unknown option 'slack' %(did you mean 'slak'%?%)", pelk.Module.merge, nn.Linear(1, 1), { slack = "auto" })
    fails("merge: the model must be a pelk.Module", pelk.Module.merge, 3)
    local _, report = nn.Linear(2, 2):merge()
    assert.are.equal("nothing to merge", tostring(report))
  end)

  it("draws nothing from the random generator", function()
    local m = nano({ mixer = "stripe" })
    pelk.manual_seed(5)
    local wanted = pelk.rand({ 3 })
    pelk.manual_seed(5)
    m:merge()
    assert(pelk.rand({ 3 }):equal(wanted))
  end)

  it("goes through files", function()
    local dir = help.folder()
    local m = nano()
    local merged = check(m, x)
    assert(merged:save(dir .. "/m.safetensors"))
    local again = pelk.models.create("pelk_nano", { depths = { 1, 2, 1 }, dims = { 16, 16, 24 },
      kernels = { 31, 15, 7 }, merged = true })
    assert(again:load(dir .. "/m.safetensors"))
    assert(again(x):equal(merged(x)))
    help.remove(dir)
  end)

  it("survives every failing allocation, and can be merged then", function()
    local core = require("pelk.core")
    local small = pelk.randn({ 1, 8, 9, 1 })
    local m = nano({ depths = { 1, 1, 1 }, dims = { 8, 8, 8 }, norm = "batch" })
    local wanted = m(small)
    for n = 1, 400 do
      local copy = m:clone()
      core._fail_alloc(n, true)
      local ok = pcall(core.module_merge, copy)
      core._fail_alloc(0)
      assert(apart(copy:eval()(small), wanted) < 1e-5, "allocation " .. n)
      if ok then
        assert(n > 20)
        return
      end
      copy:merge()
      assert(apart(copy(small), wanted) < 1e-5)
      copy:free()
    end
    error("merging takes more than 400 allocations")
  end)
end)

describe("merged architectures", function()
  local small = { depths = { 1, 2, 1, 1 }, dims = { 16, 16, 24, 32 }, num_classes = 5 }
  local x = pelk.randn({ 1, 40, 33, 3 })

  local function create(name)
    pelk.manual_seed(14)
    return randomise(pelk.models.create(name, small))
  end

  for _, name in ipairs({ "pelk_tiny_101", "convnext_tiny", "slak_tiny", "slak_tiny_dense", "replknet_31b",
    "replknet_xl", "inception_next_tiny" }) do
    it(name .. " gives the same logits and has no batch norm left", function()
      local m = create(name)
      local merged = check(m, x)
      for _, part in ipairs(merged:modules()) do assert.are_not.equal("BatchNorm", part.module:class()) end
    end)
  end

  it("carry RepLKNet's name for the merged kernel, and ours elsewhere", function()
    local state = create("replknet_31b"):merge():state_dict()
    assert.are.same({ 24, 1, 27, 27 }, state["stages.2.blocks.0.large_kernel.lkb_reparam.weight"]:shape())
    state = create("slak_tiny"):merge({ slak = "dense" }):state_dict()
    assert.are.same({ 20, 1, 51, 51 }, state["stages.0.blocks.0.conv_dw.reparam.weight"]:shape())
  end)

  -- facts of the papers' code for the first ones; by hand for the last two: a batch norm in front of a layer with bias
  -- takes 2 C parameters with it, one behind a layer without bias C
  local cases = {
    { "pelk_tiny", 47837758 },
    { "replknet_31b", 79527272, { batch_norms = false } },
    { "replknet_31b", 79527272 - 11 * 12032 - 4 * 128 - 2 * (256 + 512 + 1024) - 2 * 1024 },
    { "inception_next_tiny", 28055680 - 2 * 96 - 2 * (96 + 192 + 384) - 2 * 6624 },
  }
  if os.getenv("PELK_QUICK") == nil then
    table.insert(cases, { "pelk_tiny_101", 48039166 })
    table.insert(cases, { "pelk_small", 84337978 })
  end
  for _, case in ipairs(cases) do
    local about = case[3] and " with its kernels merged" or ""
    it(("%s has %d parameters%s"):format(case[1], case[2], about), function()
      local m <close> = pelk.models.create(case[1])
      m:merge(case[3])
      assert.are.equal(case[2], parameters(m))
    end)
  end
end)
