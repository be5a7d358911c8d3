-- Presets: parameter counts derived from the papers, names, overrides, and what mistakes are told.
local pelk = require("pelk")
local help = require("spec.help")

local function count(model)
  local n = 0
  for _, p in ipairs(model:named_parameters()) do n = n + p.tensor:numel() end
  return n
end

local fails = help.raises

describe("parameter counts", function()
  -- with the 5x5 branches, batch norms and one position map a stage, rule "truncate", dense
  local cases = {
    { "pelk_tiny", {}, 47927974 },
    { "pelk_tiny_101", {}, 48129382 },
    { "pelk_tiny", { width = 1 }, 28681108 },
    { "pelk_tiny_101", { width = 1 }, 28839364 },
    { "convnext_tiny", {}, 28589128 },
    { "slak_tiny", {}, 50703838 },
    { "inception_next_tiny", {}, 28055680 },
  }
  if os.getenv("PELK_QUICK") == nil then
    table.insert(cases, { "pelk_small", {}, 84522442 })
    table.insert(cases, { "pelk_base", {}, 149137818 })
    table.insert(cases, { "pelk_base_101", {}, 149653386 })
    table.insert(cases, { "convnext_small", {}, 50223688 })
    table.insert(cases, { "convnext_base", {}, 88591464 })
    table.insert(cases, { "slak_small", {}, 91131820 })
    table.insert(cases, { "slak_base", {}, 157950792 })
    table.insert(cases, { "inception_next_small", {}, 49374016 })
    table.insert(cases, { "inception_next_base", {}, 86672136 })
    table.insert(cases, { "replknet_31b", {}, 79864168 })
  end
  for _, case in ipairs(cases) do
    local about = case[2].width and ", width " .. case[2].width or ""
    it(("%s%s has %d"):format(case[1], about, case[3]), function()
      local model <close> = pelk.models.create(case[1], case[2])
      assert.are.equal(case[3], count(model))
    end)
  end

  it("pelk_nano stays under a million", function()
    assert(count(pelk.models.create("pelk_nano")) < 1000000)
  end)

  it("of the large kernels are those of the shared grid: 445,782 in pelk_tiny", function()
    local model <close> = pelk.models.create("pelk_tiny")
    local large, small, maps = 0, 0, 0
    for _, p in ipairs(model:named_parameters()) do
      if p.name:find("large%.conv%.weight$") then large = large + p.tensor:numel() end
      if p.name:find("small%.conv%.weight$") then small = small + p.tensor:numel() end
      if p.name:find("position$") then maps = maps + p.tensor:numel() end
    end
    assert.are.same({ 445782, 80550, 7380 }, { large, small, maps })
  end)
end)

describe("names", function()
  local model = pelk.models.create("pelk_nano")
  local state = model:state_dict()

  it("are timm's where timm has the model, PeLK's own elsewhere", function()
    for _, name in ipairs({ "stem.0.weight", "stem.1.bias", "stages.0.position", "stages.1.downsample.0.weight",
      "stages.1.downsample.1.weight", "stages.0.blocks.1.conv_dw.large.conv.weight",
      "stages.0.blocks.1.conv_dw.large.bn.running_var", "stages.0.blocks.1.conv_dw.small.conv.weight",
      "stages.0.blocks.1.norm.weight", "stages.0.blocks.1.mlp.fc1.weight", "stages.0.blocks.1.gamma", "head.norm.bias",
      "head.fc.weight" }) do
      assert(state[name], name .. " is missing")
    end
    local convnext <close> = pelk.models.create("convnext_tiny", { depths = { 1, 1 }, dims = { 8, 8 } })
    assert(convnext:state_dict()["stages.0.blocks.0.conv_dw.weight"])
  end)

  local function check_names(preset, overrides, shapes)
    overrides.depths, overrides.dims = { 1, 1 }, { 16, 24 }
    local m <close> = pelk.models.create(preset, overrides)
    local dict = m:state_dict()
    for name, shape in pairs(shapes) do
      assert(dict[name], preset .. " has no " .. name)
      assert.are.same(shape, dict[name]:shape(), name)
    end
  end

  it("of RepLKNet are those of its files", function()
    check_names("replknet_31b", { kernels = { 31, 13 } }, {
      ["stem.0.conv.weight"] = { 16, 3, 3, 3 }, ["stem.1.conv.weight"] = { 16, 1, 3, 3 },
      ["stem.2.conv.weight"] = { 16, 16, 1, 1 }, ["stem.3.bn.running_var"] = { 16 },
      ["stages.0.blocks.0.prelkb_bn.weight"] = { 16 }, ["stages.0.blocks.0.pw1.conv.weight"] = { 16, 16, 1, 1 },
      ["stages.0.blocks.0.large_kernel.lkb_origin.conv.weight"] = { 16, 1, 31, 31 },
      ["stages.0.blocks.0.large_kernel.small_conv.bn.bias"] = { 16 }, ["stages.0.blocks.0.pw2.bn.weight"] = { 16 },
      ["stages.1.blocks.1.preffn_bn.running_mean"] = { 24 }, ["stages.1.blocks.1.pw1.conv.weight"] = { 96, 24, 1, 1 },
      ["transitions.0.0.conv.weight"] = { 24, 16, 1, 1 }, ["transitions.0.1.conv.weight"] = { 24, 1, 3, 3 },
      ["norm.weight"] = { 24 }, ["head.weight"] = { 1000, 24 },
    })
    check_names("replknet_xl", { kernels = { 27, 13 } },
      { ["stages.0.blocks.0.large_kernel.lkb_origin.conv.weight"] = { 24, 1, 27, 27 } })
  end)

  it("of InceptionNeXt are timm's", function()
    check_names("inception_next_tiny", { mlp_ratio = { 4, 3 } }, {
      ["stem.1.running_mean"] = { 16 }, ["stages.1.downsample.0.weight"] = { 16 },
      ["stages.0.blocks.0.token_mixer.dwconv_hw.weight"] = { 2, 1, 3, 3 },
      ["stages.0.blocks.0.token_mixer.dwconv_w.weight"] = { 2, 1, 1, 11 },
      ["stages.0.blocks.0.token_mixer.dwconv_h.bias"] = { 2 }, ["stages.0.blocks.0.norm.running_var"] = { 16 },
      ["stages.1.blocks.0.mlp.fc1.weight"] = { 72, 24, 1, 1 }, ["stages.0.blocks.0.gamma"] = { 16 },
      ["head.fc1.weight"] = { 72, 24 }, ["head.norm.weight"] = { 72 }, ["head.fc2.weight"] = { 1000, 72 },
    })
  end)

  it("of SLaK and its dense counterpart name their branches", function()
    check_names("slak_tiny", { kernels = { 51, 13 } }, {
      ["stages.0.blocks.0.conv_dw.tall.conv.weight"] = { 20, 1, 51, 5 },
      ["stages.0.blocks.0.conv_dw.wide.conv.weight"] = { 20, 1, 5, 51 },
      ["stages.0.blocks.0.conv_dw.small.conv.weight"] = { 20, 1, 5, 5 },
      ["stages.0.blocks.0.conv_dw.tall.bn.weight"] = { 20 },
    })
    check_names("slak_tiny_dense", { kernels = { 51, 13 } },
      { ["stages.0.blocks.0.conv_dw.large.conv.weight"] = { 20, 1, 51, 51 } })
  end)

  it("stand for PyTorch's layouts", function()
    assert.are.same({ 12, 1, 11, 11 }, state["stages.0.blocks.0.conv_dw.large.conv.weight"]:shape())
    assert.are.same({ 1, 31, 31 }, state["stages.0.position"]:shape())
    assert.are.same({ 32, 1, 2, 2 }, state["stem.0.weight"]:shape())
  end)

  it("lead to parts", function()
    assert.are.equal("PartialConv", model:get("stages.2.blocks.1.conv_dw"):class())
  end)

  it("one position map serves all blocks of a stage", function()
    local x = pelk.randn({ 2, 28, 28, 1 })
    pelk.ops.sum(model(x) * model(x)):backward()
    assert(model:get("stages.1").position.grad ~= nil)
    local first = model:get("stages.1.blocks.0.conv_dw.large.conv").position
    local second = model:get("stages.1.blocks.2.conv_dw.large.conv").position
    pelk.no_grad(function() first:fill_(0.25) end)
    assert.are.equal(0.25, second:select(1, 1):select(1, 1):item())
  end)
end)

describe("overrides", function()
  it("compose members of the family", function()
    local model <close> = pelk.models.create("pelk_tiny", {
      depths = { 1, 1 }, dims = { 16, 24 }, width = 1, num_classes = 3, in_channels = 2, kernels = { 13, 9 },
      mixer = { "peripheral", "dense" }, partial = { 0.5, 1 }, radius = { 1, 2 }, position_shape = "channel",
      small_kernel = { 3, 0 }, mlp_ratio = { 2, 3 }, stem = 2,
    })
    local y = model(pelk.randn({ 2, 20, 24, 2 }))
    assert.are.same({ 2, 3 }, y:shape())
  end)

  for _, mixer in ipairs({ "peripheral", "dense", "stripe", "inception" }) do
    it("build the mixer " .. mixer, function()
      local model <close> = pelk.models.create("pelk_tiny", { depths = { 1 }, dims = { 16 }, kernels = 11,
        mixer = mixer, partial = mixer == "inception" and 0.125 or 0.375, num_classes = 2 })
      local y = model(pelk.randn({ 1, 32, 32, 3 }))
      y:sum():backward()
      assert.are.same({ 1, 2 }, y:shape())
    end)
  end

  it("take explicit grids", function()
    local model <close> = pelk.models.create("pelk_tiny", { depths = { 1 }, dims = { 16 }, width = 1,
      grid = { { 3, 1, 1, 1, 3 } }, num_classes = 2 })
    assert.are.same({ 6, 1, 5, 5 }, model:state_dict()["stages.0.blocks.0.conv_dw.large.conv.weight"]:shape())
  end)

  it("do not change the presets", function()
    local spec = pelk.models.spec("pelk_tiny")
    spec.kernels[1] = 3
    assert.are.equal(51, pelk.models.spec("pelk_tiny").kernels[1])
  end)
end)

describe("mistakes", function()
  it("name what is near", function()
    fails("pelk_tiny", pelk.models.create, "pelk_tinny")
    fails("kernels", pelk.models.create, "pelk_nano", { kernel = 7 })
  end)
  it("say which field and why", function()
    fails("odd", pelk.models.create, "pelk_nano", { kernels = 8 })
    fails("3 stages", pelk.models.create, "pelk_nano", { kernels = { 7, 7 } })
    fails("dims", pelk.models.create, "pelk_nano", { dims = { 8, 8 } })
    fails("partial", pelk.models.create, "pelk_nano", { partial = 2 })
    fails("mixer", pelk.models.create, "pelk_nano", { mixer = "spectral" })
    fails("num_classes", pelk.models.create, "pelk_nano", { num_classes = 0 })
    fails("got number", pelk.models.create, 3)
    local create = pelk.models.create
    fails("^[^:]*:?%d*:? ?Model: stage 2: kernel must be odd, got 8", create, "pelk_nano", { kernels = { 7, 8, 7 } })
    fails("Model: stage 3: .*radius is 4, wanted 0 to 3", create, "pelk_nano", { radius = { 2, 2, 4 } })
    fails("stage 1: partial 0.01 of 32 channels leaves none", create, "pelk_nano", { partial = { 0.01, 1, 1 } })
    fails("stage 2: small_kernel must be odd, got 4", create, "pelk_nano", { small_kernel = { 5, 4, 5 } })
    fails("stage 1: small_kernel is 0, but a mixer 'stripe' needs it", create, "slak_tiny", { small_kernel = 0 })
    fails("stage 1: partial 0.375 of 124 .* 'inception' is too many", create, "pelk_tiny", { mixer = "inception" })
    fails("stage 2: grid is given, but only the mixer 'peripheral'", create, "pelk_nano",
      { grid = { { 3, 1, 3 }, { 3, 1, 3 }, {} }, mixer = { "peripheral", "dense", "dense" } })
    fails("grid has 2 values, but depths says 3 stages", create, "pelk_nano", { grid = { { 3, 1, 3 }, { 1 } } })
    fails("stage 1: .*grid sums to 6", create, "pelk_nano", { grid = { 3, 3 } })
    fails("width 0.001 of dims%[1%] = 32 leaves no channels", create, "pelk_nano", { width = 0.001 })
    fails("width has 2 values", create, "pelk_nano", { width = { 1, 2 } })
    fails("norm is 'layer', but blocks 'replknet' have batch norms", create, "replknet_31b", { norm = "layer" })
    fails("layer_scale is 0.1, but blocks 'replknet' have none", create, "replknet_31b", { layer_scale = 0.1 })
    fails("head is 'mlp'", create, "replknet_31b", { head = "mlp" })
    fails("conv_mlp is true", create, "replknet_31b", { conv_mlp = true })
    fails("stem is 3, but RepLKNet's", create, "replknet_31b", { stem = 3 })
    fails("dw_ratio is 2, but it is for blocks 'replknet' only", create, "pelk_nano", { dw_ratio = 2 })
    fails("block wants one of convnext|replknet, got 'resnet'", create, "pelk_nano", { block = "resnet" })
    fails("table", pelk.models.create, "pelk_nano", "wide")
  end)
  it("say where in the network a shape does not fit", function()
    local model = pelk.models.create("pelk_nano")
    fails("{N,H,W,1}, got {2,28,28,3}", model.forward, model, pelk.randn({ 2, 28, 28, 3 }))
    local net = pelk.nn.Sequential():add(pelk.nn.Sequential():add(pelk.nn.Linear(4, 8))):add(pelk.nn.Linear(4, 8))
    fails("^[^{]*1: linear", net.forward, net, pelk.randn({ 2, 4 }))
  end)
end)

describe("features", function()
  local model = pelk.models.create("pelk_nano", { dims = { 8, 16, 24 } }):eval()
  local x = pelk.randn({ 2, 28, 28, 1 })

  it("are what the stages give", function()
    local maps = model:features(x)
    assert.are.equal(3, #maps)
    assert.are.same({ 2, 14, 14, 8 }, maps[1]:shape())
    assert(model:get("head")(maps[3]):equal(model(x)))
    local two = model:features(x, { 2, 1 })
    assert(two[1]:equal(maps[2]) and two[2]:equal(maps[1]))
    assert.are.equal("{2,7,7,16} float32, from mlp\n", tostring(model:features(x, { 2 })) .. "\n")
    maps[2]:sum():backward()
    assert(model:get("stem.0.weight").grad:abs():sum():item() > 0)
  end)
  it("want a model and stages it has", function()
    fails("stage 4 is not in 1..3", model.features, model, x, { 4 })
    fails("must be a list", model.features, model, x, 2)
    fails("stem%.0: conv2d: x .* is too small", model.features, model, pelk.randn({ 1, 1, 1, 1 }))
    fails("wants an nn.Model, got a Linear", model.features, pelk.nn.Linear(1, 1), x)
    fails("must be a pelk.Module, got nil", model.features, nil, x)
  end)
end)

describe("every architecture", function()
  local small = { depths = { 1, 1, 1, 1 }, dims = { 8, 16, 16, 24 }, num_classes = 3 }
  for _, name in ipairs({ "pelk_tiny", "convnext_tiny", "slak_tiny", "slak_tiny_dense", "replknet_31b",
    "inception_next_tiny" }) do
    it(name .. " gives a pyramid for any size and any channels of images, and freezes by pattern", function()
      -- 37x53: patches of 4 and 2 leave out what is over; RepLKNet's 3x3 convolutions of stride 2 and padding 1 do not
      local sizes = { { 9, 13 }, { 4, 6 }, { 2, 3 }, { 1, 1 } }
      if name == "replknet_31b" then sizes = { { 10, 14 }, { 5, 7 }, { 3, 4 }, { 2, 2 } } end
      for _, channels in ipairs({ 1, 4 }) do
        small.in_channels = channels
        local m <close> = pelk.models.create(name, small)
        m:eval()
        local x = pelk.randn({ 2, 37, 53, channels })
        for i, map in ipairs(m:features(x, { 1, 2, 3, 4 })) do
          local c = math.floor(small.dims[i] * m:options().width[1])
          assert.are.same({ 2, sizes[i][1], sizes[i][2], c }, map:shape())
        end
        assert.are.same({ 2, 3 }, m(x):shape())
        local total = #m:named_parameters()
        local _, frozen = m:freeze("^st[ea][mg]")
        m:train()(x):sum():backward()
        local trained = 0
        for _, p in ipairs(m:named_parameters()) do
          if p.tensor.grad then
            trained = trained + 1
            assert(not p.name:find("^stem") and not p.name:find("^stages"), p.name)
          end
        end
        assert.are.equal(total - frozen, trained)
      end
    end)
  end
end)
