-- ONNX export: every op with an ONNX form and every architecture, merged or not, run in ONNX Runtime; the structure of
-- the files checked by the onnx package of Python where it is there.
local pelk = require("pelk")
local help = require("spec.help")
local runtime = require("spec.onnx.runtime")
local nn, ops = pelk.nn, pelk.ops

local found, why = runtime.find()

local function randomise(m) return help.randomise(m, 0.05) end
local apart = help.apart

local fails = help.raises

-- A list of cases that run together: the model, its input, options of the export.
local Cases = {}
Cases.__index = Cases

local function new_cases() return setmetatable({ dir = help.folder() }, Cases) end

function Cases:add(name, m, x, options)
  local o = { dynamic_batch = x:size(1) > 1 }
  for k, v in pairs(options or {}) do o[k] = v end
  local shape = x:shape()
  table.remove(shape, 1)
  o.shape = shape
  assert(pelk.export_onnx(m, ("%s/%s.onnx"):format(self.dir, name), o))
  runtime.give(self.dir, name, x, o.layout)
  self[#self + 1] = { name = name, wanted = pelk.no_grad(m.forward, m, x), layout = o.layout }
end

function Cases:finish(tolerance)
  local script = "import glob, onnx\nfor f in glob.glob('%s/*.onnx'):\n"
    .. "    m = onnx.load(f); onnx.checker.check_model(m, full_check=True); assert m.opset_import[0].version == 17\n"
  local path = help.write(self.dir .. "/check.py", script:format(self.dir))
  assert(runtime.python(path, self.dir .. "/log"))
  if not found then
    help.remove(self.dir)
    return pending("skipped: " .. why)
  end
  runtime.run(self.dir)
  for _, case in ipairs(self) do
    local y = runtime.take(self.dir, case.name, case.layout)
    assert.are.same(case.wanted:shape(), y:shape())
    local d = apart(y, case.wanted)
    assert(d < tolerance, ("%s differs by %.2g"):format(case.name, d))
  end
  help.remove(self.dir)
end

describe("export_onnx: ops", function()
  it("of one input", function()
    pelk.manual_seed(21)
    local cases = new_cases()
    local image, rows = pelk.randn({ 2, 7, 6, 5 }), pelk.randn({ 3, 8 })
    local positive = pelk.rand({ 2, 4, 3, 5 }) + 0.5
    local maps = {
      relu = ops.relu, gelu = ops.gelu, silu = ops.silu, sigmoid = ops.sigmoid, tanh = ops.tanh, exp = ops.exp,
      abs = ops.abs, neg = ops.neg, softmax = ops.softmax, log_softmax = ops.log_softmax,
      global_avg_pool = ops.global_avg_pool,
      softmax2 = function(x) return ops.softmax(x, { dim = 2 }) end,
      grn = function(x) return ops.grn(x, pelk.arange(5), pelk.ones({ 5 })) end,
      clamp = function(x) return ops.clamp(x, { min = -0.5, max = 0.7 }) end,
      clamp_low = function(x) return ops.clamp(x, { min = 0.1 }) end,
      pad = function(x) return ops.pad(x, { pad = { 1, 0, 2, 3 }, value = 0.5 }) end,
      mean = function(x) return ops.mean(x, { dim = { 2, 3 } }) end,
      mean_keep = function(x) return ops.mean(x, { dim = { 4 }, keepdim = true }) end,
      sum = function(x) return ops.sum(x, { dim = { 2 } }) end,
      max = function(x) return ops.max(x, { dim = { 3, 4 } }) end,
      min = function(x) return ops.min(x, { dim = { 2, 4 } }) end,
      var = function(x) return ops.var(x, { dim = { 2, 3 }, keepdim = true }) end,
      var_biased = function(x) return ops.var(x, { dim = { 4 }, unbiased = false }) end,
      avg_pool = function(x) return ops.avg_pool(x, { kernel = 3, stride = 2, padding = 1 }) end,
      avg_pool_inside = function(x) return ops.avg_pool(x, { kernel = 3, padding = 1, count_include_pad = false }) end,
      max_pool = function(x) return ops.max_pool(x, { kernel = { 3, 2 }, stride = 2 }) end,
      nearest = function(x) return ops.resize(x, { size = { 14, 5 }, mode = "nearest" }) end,
      bilinear = function(x) return ops.resize(x, { size = { 13, 17 } }) end,
      reshape = function(x) return ops.reshape(x, { shape = { 2, 42, 5 } }) end,
      permute = function(x) return ops.permute(x, { dims = { 1, 4, 2, 3 } }) end,
      transpose = function(x) return x:transpose(2, 3) end,
      narrow = function(x) return ops.narrow(x, { dim = 4, start = 2, length = 3 }) end,
      select = function(x) return ops.select(x, { dim = 2, index = 3 }) end,
      split = function(x) return (select(2, ops.split(x, { sizes = { 1, 2, 2 } }))) end,
      expand = function(x) return x:narrow(4, 2, 1):expand(-1, 7, 6, 9) end,
    }
    for name, f in help.sorted(maps) do
      -- plainly, and behind a convolution and a norm, where channels stand elsewhere
      local fixed = name == "reshape" and { dynamic_batch = false } or nil
      local x = fixed and image:narrow(1, 1, 1):contiguous() or image
      local g = fixed and function(t) return ops.reshape(t, { shape = { 1, 42, 5 } }) end or f
      cases:add(name, nn.Sequential(g), x, fixed)
      cases:add(name .. "_conv", randomise(nn.Sequential(nn.Conv2d(5, 5, { kernel = 1 }), g)), x, fixed)
      cases:add(name .. "_norm", randomise(nn.Sequential(nn.LayerNorm(5), g)), x, fixed)
      cases:add(name .. "_nhwc", nn.Sequential(g), x, { layout = "nhwc", dynamic_batch = not fixed })
    end
    cases:add("log", nn.Sequential(ops.log), positive)
    cases:add("sqrt", nn.Sequential(ops.sqrt), positive)
    cases:add("pow", nn.Sequential(function(x) return ops.pow(x, { exponent = 1.7 }) end), positive)
    local layers = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm(6), nn.Linear(6, 4, { bias = false }))
    cases:add("rows", randomise(layers), rows)
    cases:finish(5e-5) -- means of normed channels are small beside what they are made of
  end)

  it("of two inputs, with constants and between branches", function()
    pelk.manual_seed(22)
    local cases = new_cases()
    local x = pelk.randn({ 2, 5, 4, 3 })
    local vector, map = pelk.rand({ 3 }) + 0.5, pelk.rand({ 5, 4, 1 })
    local conv = randomise(nn.Conv2d(3, 3, { kernel = 3, padding = 1 }))
    for _, name in ipairs({ "add", "sub", "mul", "div", "maximum", "minimum", "lt", "gt" }) do
      cases:add(name, nn.Sequential(function(t) return ops[name](conv(t), vector) end), x)
      cases:add(name .. "_map", nn.Sequential(function(t) return ops[name](map, conv(t) + 9) end), x)
      cases:add(name .. "_branches", nn.Sequential(function(t) return ops[name](conv(t), t) end), x)
    end
    cases:add("matmul", nn.Sequential(function(t) return ops.matmul(t, pelk.arange(6):reshape({ 3, 2 })) end), x)
    cases:add("concat", nn.Concat(conv, nn.Identity(), nn.LayerNorm(3)), x)
    cases:add("parallel", randomise(nn.Parallel(nn.Conv2d(1, 2), nn.Linear(2, 2))), x)
    cases:add("residual", randomise(nn.Residual(nn.LayerNorm(3), nn.Linear(3, 3), nn.GELU())), x)
    cases:add("identity", nn.Sequential(nn.Identity()), x)
    cases:add("dropout", nn.Sequential(nn.Dropout(0.5), nn.DropPath(0.5), nn.ReLU()):train(), x)
    cases[#cases].wanted = ops.relu(x)
    cases:finish(1e-5)
  end)

  it("of convolutions", function()
    pelk.manual_seed(23)
    local cases = new_cases()
    local x = pelk.randn({ 2, 11, 8, 6 })
    local layers = {
      conv = nn.Conv2d(6, 4, { kernel = { 3, 5 }, stride = 2, padding = { 1, 2 } }),
      same = nn.Conv2d(6, 4, { kernel = 4, padding = "same" }),
      dilated = nn.Conv2d(6, 4, { kernel = 3, padding = 2, dilation = { 2, 1 }, groups = 2 }),
      patch = nn.Conv2d(6, 8, { kernel = 4, stride = 4, bias = false }),
      depthwise = nn.DepthwiseConv(6, { kernel = 7 }),
      strided = nn.DepthwiseConv(6, { kernel = { 3, 2 }, stride = 2, padding = 0, dilation = { 1, 2 } }),
      stripe = nn.StripeConv({ channels = 6, kernel = 9, short_side = 3 }),
      valid = nn.PeripheralConv({ channels = 6, kernel = 31 }),
      all = nn.PeripheralConv({ channels = 6, kernel = 31, position_mode = "all", position_shape = "channel",
        bias = true }),
      off = nn.PeripheralConv({ channels = 6, kernel = 9, position_mode = "off" }),
      batch_norm = nn.Sequential(nn.Conv2d(6, 6), nn.BatchNorm(6), nn.Linear(6, 6), nn.LayerNorm(6), nn.BatchNorm(6)),
      plain_norms = nn.Sequential(nn.LayerNorm(6, { affine = false }), nn.BatchNorm(6, { affine = false })),
    }
    for name, m in help.sorted(layers) do cases:add(name, randomise(m), x) end
    cases:finish(1e-5)
  end)
end)

describe("export_onnx: architectures", function()
  local small = { depths = { 1, 2, 1, 1 }, dims = { 16, 24, 32, 40 }, num_classes = 7, width = 1 }

  local function create(name, overrides)
    local o = {}
    for k, v in pairs(small) do o[k] = v end
    for k, v in pairs(overrides or {}) do o[k] = v end
    return randomise(pelk.models.create(name, o))
  end

  local variants = {
    pelk = { "pelk_tiny" }, pelk_all = { "pelk_tiny", { position = "all" } }, pelk_101 = { "pelk_tiny_101" },
    pelk_map = { "pelk_tiny", { position_shape = "channel", radius = 1 } },
    convnext = { "convnext_tiny" }, slak = { "slak_tiny" }, slak_dense = { "slak_tiny_dense" },
    replknet = { "replknet_31b" }, inception_next = { "inception_next_tiny" },
  }

  it("give the same logits in ONNX Runtime, merged or not", function()
    pelk.manual_seed(24)
    local cases = new_cases()
    local x = pelk.randn({ 2, 64, 96, 3 })
    for name, v in help.sorted(variants) do
      local m = create(table.unpack(v))
      cases:add(name, m, x)
      cases:add(name .. "_merged", m:merge(), x)
    end
    cases:finish(1e-4)
  end)
end)

describe("export_onnx", function()
  -- Nodes of a type in a file: field 4 of NodeProto, a string.
  local function count(path, type)
    return select(2, help.read(path):gsub(("\x22%c%s"):format(#type, type), ""))
  end

  it("transposes no more than it must", function()
    local dir = help.folder()
    local path = dir .. "/m.onnx"
    local function transposes(m)
      assert(pelk.export_onnx(m, path, { image_size = 32 }))
      return count(path, "Transpose")
    end
    local convs = nn.Sequential(nn.RepLKBlock({ channels = 6, kernel = 7 }), nn.ConvFFN({ channels = 6 }), nn.GELU(),
      nn.Block({ channels = 6, kernel = 9, norm = "batch" }), nn.MaxPool(), nn.GlobalAvgPool(), nn.Linear(6, 3))
    assert.are.equal(0, transposes(convs))
    -- two for the kernel of each block, one behind the stem, one before each convolution that makes images smaller
    local m = pelk.models.create("convnext_tiny", { depths = { 2, 1, 3, 1 }, dims = { 4, 4, 4, 4 } })
    assert.are.equal(2 * 7 + 1 + 3, transposes(m))
    assert.are.equal(7 + 3 + 2, count(path, "LayerNormalization"))
    help.remove(dir)
  end)

  it("says what cannot be exported, and where", function()
    local dir = help.folder()
    local path = dir .. "/m.onnx"
    local shape = { shape = { 4, 4, 3 } }
    local m = nn.Sequential(nn.ReLU(), nn.Sequential(function(x) return ops.argmax(x, { dim = 4 }) end))
    fails("1%.0: .*argmax.*no form in ONNX", pelk.export_onnx, m, path, shape)
    m = nn.Sequential(function(x) return ops.linear(x, x:narrow(1, 1, 1):reshape({ 16, 3 })) end)
    fails("linear: w depends on the input", pelk.export_onnx, m, path, shape)
    m = nn.Sequential(function(x) return ops.reshape(x, { shape = { 48 } }) end)
    fails("batch, of which the graph takes any size", pelk.export_onnx, m, path,
      { shape = { 4, 4, 3 }, dynamic_batch = true })
    m = nn.Sequential(function() return pelk.ones({ 3 }) end)
    fails("output does not depend on the input", pelk.export_onnx, m, path, shape)
    fails("unknown option 'image'", pelk.export_onnx, m, path, { image = 3 })
    fails("layout .*nchw", pelk.export_onnx, m, path, { layout = "hwcn" })
    fails("the path must be a string", pelk.export_onnx, m, nil)
    fails("must be a pelk.Module", pelk.export_onnx, 3, path)
    assert.is_nil(io.open(path))
    help.refuses("nowhere", pelk.export_onnx(nn.Linear(2, 2), dir .. "/nowhere/m.onnx", { shape = { 2 } }))
    help.remove(dir)
  end)

  it("leaves the model as it was, in training too", function()
    local dir = help.folder()
    local m = nn.Sequential(nn.Conv2d(3, 4), nn.BatchNorm(4), nn.Sequential(nn.Dropout(0.5)):eval()):train()
    m[3]:eval()
    local mean = m[2].running_mean:clone()
    assert(pelk.export_onnx(m, dir .. "/m.onnx", { image_size = 8 }))
    assert(m.training and m[2].training and not m[3].training and not m[3][1].training)
    assert(m[2].running_mean:equal(mean))
    assert(pelk.grad_enabled())
    help.remove(dir)
  end)

  it("survives failing allocations and writes, and leaves no half of a file", function()
    local core = require("pelk.core")
    local dir = help.folder()
    local m = pelk.models.create("pelk_nano", { depths = { 1 }, dims = { 8 }, kernels = { 15 }, num_classes = 2 })
    local failures = 0
    local function export() return pcall(pelk.export_onnx, m, dir .. "/m.onnx", { image_size = 8 }) end
    assert(export())
    local whole = help.read(dir .. "/m.onnx")
    for n = 1, 3000 do
      core._fail_alloc(n, true)
      local ok = export()
      core._fail_alloc(0)
      assert(help.read(dir .. "/m.onnx") == whole)
      if ok then break end
      failures = n
    end
    assert(failures > 50 and failures < 2900)
    for n = 1, 40 do
      core._fail_file(n, "ENOSPC", true)
      local _, done = export()
      core._fail_file(0)
      assert(help.read(dir .. "/m.onnx") == whole)
      if done then break end
      failures = n
    end
    assert(failures < 30)
    help.remove(dir)
  end)
end)
