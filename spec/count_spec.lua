-- What models cost: the figures that the papers print and those derived from them, the four conventions of
-- multiply-adds against plain loops, summaries and profiles.
local pelk = require("pelk")
local help = require("spec.help")
local core = require("pelk.core")

local fails = help.raises

local function near(wanted, got, digits, what)
  local shown = ("%." .. digits .. "f"):format(got)
  assert(("%." .. digits .. "f"):format(wanted) == shown, ("%s: %s, not %s"):format(what or "", shown, wanted))
end

local count = pelk.models.count

describe("the counts of the family", function()
  -- parameters, not zero at density 0.6 (as the public code masks them); G of the papers' convention, then that printed
  for name, c in pairs({
    slak_tiny = { 50703838, 30473228, 5.22, 5.0 },
    slak_small = { 91131820, 54780317, 9.96, 9.8 },
    slak_base = { 157950792, 94905276, 17.11, 17.1 },
  }) do
    it("of " .. name .. " at density 0.6", function()
      local counted = count(name, nil, { density = 0.6 })
      assert.are.same({ c[1], c[2] }, { counted.params, counted.params_nonzero })
      near(c[3], counted.macs_paper / 1e9, 2)
      assert(math.abs(counted.macs_paper / 1e9 - c[4]) < 0.25)
    end)
  end

  it("differ by 13, 20 and 27 G between PeLK and SLaK at 2048 x 512, as Table 2 prints", function()
    for size, derived in pairs({ tiny = 13.0, small = 20.5, base = 27.4 }) do
      local given = { image_size = { 512, 2048 }, density = 0.6 }
      local pelks, slaks = count("pelk_" .. size, nil, given), count("slak_" .. size, nil, given)
      local difference = (pelks.macs_paper - slaks.macs_paper) / 1e9
      assert(math.abs(difference - derived) < 0.3, ("%s: %.2f"):format(size, difference))
    end
  end)

  it("of RepLKNet: with and without the branches, and the printed G", function()
    local c = count("replknet_31b")
    assert.are.equal(79864168, c.params)
    local branches = { merged = { batch_norms = false } } -- as the public code merges
    local merged = count("replknet_31b", branches)
    assert.are.equal(79527272, merged.params)
    assert(math.abs(merged.macs_paper / 1e9 - 15.3) < 0.1 and c.macs_paper - merged.macs_paper < 0.2e9)
    near(45.1, count("replknet_31b", branches, { image_size = 384 }).macs_paper / 1e9, 1)
    near(172, count("replknet_31l", branches).params / 1e6, 0)
    near(335, count("replknet_xl").params / 1e6, 0)
    near(96.0, count("replknet_31l", branches, { image_size = 384 }).macs_paper / 1e9, 1)
    near(128.7, count("replknet_xl", branches, { image_size = 320 }).macs_paper / 1e9, 1)
  end)

  for name, c in pairs({ tiny = { 28055680, 4.2 }, small = { 49374016, 8.4 }, base = { 86672136, 14.9 } }) do
    it("of inception_next_" .. name, function()
      local counted = count("inception_next_" .. name)
      assert.are.equal(c[1], counted.params)
      assert(math.abs(c[2] - counted.macs_paper / 1e9) < 0.1)
    end)
  end

  it("of InceptionNeXt-B and SLaK-B at 384 are 43.6 and 50.3 G", function()
    near(43.6, count("inception_next_base", nil, { image_size = 384 }).macs_paper / 1e9, 1)
    near(50.3, count("slak_base", nil, { image_size = 384, density = 0.6 }).macs_paper / 1e9, 1)
  end)

  it("of merged PeLK, by rule and by branches", function()
    -- the 5x5 branch merged into the shared kernel; then at density 0.6 in M, by either rule, where the derivation
    -- keeps a scale beside the shift of each convolved channel: 3222, 6588, 8778 of them
    local merged = { pelk_tiny = { 47837758, 28.740, 28.692 }, pelk_small = { 84337978, 50.674, 50.529 },
      pelk_base = { 148892034, 89.429, 89.235 }, pelk_base_101 = { 149407602, 89.743, 89.693 },
      pelk_tiny_101 = { 48039166, 28.866, 28.828 } }
    for name, c in pairs(merged) do
      local given, convolved = { density = 0.6 }, name:find("tiny") and 3222 or name:find("small") and 6588 or 8778
      local m = count(name, { merged = true }, given)
      assert.are.equal(c[1], m.params, name)
      near(c[2], (m.params_nonzero + convolved) / 1e6, 3, name)
      local other = count(name, { merged = true, rule = "merge" }, given)
      near(c[3], (other.params_nonzero + convolved) / 1e6, 3, name)
    end
    near(28.747, count("pelk_tiny", { rule = "merge" }, { density = 0.6 }).params_nonzero / 1e6, 3)
  end)
end)

describe("multiply-adds of the papers' convention", function()
  -- name, image, G at density 0.6 as derived by arithmetic from all taps, and what the table prints
  local cases = {
    { "pelk_tiny", 224, 5.84, 5.6 },
    { "pelk_small", 224, 10.94, 10.7 },
    { "pelk_base", 224, 18.42, 18.3 },
    { "pelk_base", 384, 54.12, 54.0 },
    { "pelk_base_101", 384, 68.45, 68.3 },
  }
  for _, case in ipairs(cases) do
    it(("of %s at %d are %.2f G"):format(case[1], case[2], case[3]), function()
      local c = count(case[1], nil, { image_size = case[2], density = 0.6 })
      near(case[3], c.macs_paper / 1e9, 2)
      assert(math.abs(c.macs_paper / 1e9 - case[4]) < 0.25) -- 40 % in every layer; SNIP's differ
      near(0.6 * c.macs_dense, c.macs_paper, 0)
    end)
  end

  it("of ConvNeXt are the printed 4.5, 8.7, 15.4, 34.4 G, and 45.0 G at 384", function()
    for name, printed in pairs({ tiny = 4.46, small = 8.7, base = 15.4, large = 34.4 }) do
      near(printed, count("convnext_" .. name).macs_paper / 1e9, name == "tiny" and 2 or 1, name)
    end
    near(45.0, count("convnext_base", nil, { image_size = 384 }).macs_paper / 1e9, 0)
  end)

  it("without sparsity are 9.74, 18.24, 30.70 G at 224, 90.2 and 114.1 G at 384, 6.23 G at width 1", function()
    near(9.74, count("pelk_tiny").macs_dense / 1e9, 2)
    near(18.24, count("pelk_small").macs_dense / 1e9, 2)
    near(30.70, count("pelk_base").macs_dense / 1e9, 2)
    near(90.2, count("pelk_base", nil, { image_size = 384 }).macs_dense / 1e9, 1)
    near(114.1, count("pelk_base_101", nil, { image_size = 384 }).macs_dense / 1e9, 1)
    near(6.23, count("pelk_tiny", { width = 1 }).macs_paper / 1e9, 2)
  end)

  it("of kernels of 101 instead of 51 are the differences that segmentation and detection tables print", function()
    for printed, size in pairs({ [1339 - 1237] = { 512, 2048 }, [1127 - 1028] = { 800, 1280 } }) do
      local given = { image_size = size, density = 0.6 }
      local large, usual = count("pelk_base_101", nil, given), count("pelk_base", nil, given)
      near(printed, (large.macs_paper - usual.macs_paper) / 1e9, 0)
    end
  end)

  it("of ConvNeXt-T with PeLK's kernels, dense, are 9.35 G for 38.6 M parameters", function()
    local c = count("convnext_tiny", { kernels = { 51, 49, 47, 13 }, small_kernel = 5 })
    near(9.35, c.macs_paper / 1e9, 2)
    near(38.6, c.params / 1e6, 1)
  end)
end)

--- Rows of a model that is not given weights.
local function rows_of(name, input)
  local m <close> = core.blank(pelk.models.create, name)
  return core.count(m, input, 0.6)
end

--- Sums over the rows of one class.
local function sum_of(rows, class)
  local sum = { paper = 0, dense = 0, in_image = 0, run = 0 }
  for _, row in ipairs(rows) do
    for key in pairs(sum) do sum[key] = sum[key] + (row.class == class and row["macs_" .. key] or 0) end
  end
  return sum
end

describe("large kernels", function()
  -- G counted by the papers' convention, G in the image, both at density 0.6
  local cases = {
    { "pelk_tiny", 224, 1.43, 0.54 },
    { "pelk_tiny_101", 224, 4.17, 0.94 },
    { "pelk_base", 384, 9.06, 4.05 },
    { "pelk_base_101", 384, 23.39, 8.05 },
    { "pelk_base_101", 224, 7.96, 1.37 },
  }
  for _, case in ipairs(cases) do
    it(("of %s at %d: %.2f G are counted, %.2f G in the image, fewer executed"):format(table.unpack(case)), function()
      local sum = sum_of(rows_of(case[1], { 1, case[2], case[2], 3 }), "PeripheralConv")
      near(case[3], sum.paper / 1e9, 2)
      near(case[4], 0.6 * sum.in_image / 1e9, 2)
      assert(sum.run < 0.4 * sum.in_image)
    end)
  end

  it("see these shares of their taps in the image, stage by stage", function()
    for name, wanted in pairs({ pelk_tiny = { "59.7", "31.7", "8.9", "29.0" },
      pelk_tiny_101 = { "30.2", "16.5", "4.4", "29.0" }, pelk_tiny_151 = { "13.8", "9.9", "2.6", "29.0" } }) do
      local seen = {}
      for _, row in ipairs(rows_of(name, { 1, 224, 224, 3 })) do
        local stage = row.class == "PeripheralConv" and row.path:match("^stages%.(%d)%.blocks%.0%.")
        if stage then seen[#seen + 1] = ("%.1f"):format(100 * row.macs_in_image / row.macs_dense) end
      end
      assert.are.same(wanted, seen)
    end
  end)

  it("are a quarter of the backbone at 2048 x 512", function()
    local rows = rows_of("pelk_tiny", { 1, 512, 2048, 3 })
    local backbone = rows[1].macs_paper - sum_of(rows, "DepthwiseConv").paper -- without the small kernels
    for _, row in ipairs(rows) do backbone = backbone - (row.path == "head" and row.macs_paper or 0) end
    near(24.6, 100 * sum_of(rows, "PeripheralConv").paper / backbone, 1)
  end)
end)

describe("parameters", function()
  -- all, at density 0.6: weights of convolutions and linear layers times 0.6, the rest whole
  local cases = {
    { "pelk_tiny", 47927974, 28795168 },
    { "pelk_tiny_101", 48129382, 28920908 },
    { "pelk_small", 84522442, 50785976 },
    { "pelk_base", 149137818, 89578228 },
    { "pelk_base_101", 149653386, 89892464 },
  }
  for _, case in ipairs(cases) do
    it(("of %s: %d, %d at density 0.6"):format(table.unpack(case)), function()
      local c = count(case[1], nil, { density = 0.6 })
      assert.are.same({ case[2], case[3] }, { c.params, c.params_nonzero })
      assert.are.equal(case[2], count(case[1]).params_nonzero)
    end)
  end

  it("at width 1, and of ConvNeXt", function()
    for name, wanted in pairs({ pelk_tiny = 28681108, pelk_small = 50483284, pelk_base = 88935132,
      pelk_tiny_101 = 28839364, pelk_base_101 = 89335596 }) do
      assert.are.equal(wanted, count(name, { width = 1 }).params)
    end
    for name, wanted in pairs({ tiny = 28589128, small = 50223688, base = 88591464 }) do
      assert.are.equal(wanted, count("convnext_" .. name).params)
    end
    near(197.8, count("convnext_large").params / 1e6, 1)
  end)

  it("of a model without weights are those of one with", function()
    local m <close> = pelk.models.create("pelk_nano")
    pelk.manual_seed(3)
    local before = pelk.randn({ 2 }):tolist()
    pelk.manual_seed(3)
    assert.are.same(m:count({ image_size = 28, density = 1 }), count("pelk_nano", nil, { image_size = 28 }))
    assert.are.same(before, pelk.randn({ 2 }):tolist())
    assert(pelk.models.create("pelk_nano"):get("head.fc").weight:abs():max():item() > 0)
  end)

  it("that are zero are found out without a density, in multiply-adds too", function()
    local m = pelk.nn.Sequential(pelk.nn.Linear(8, 10), pelk.nn.Linear(10, 4))
    pelk.no_grad(function()
      m[1].weight:narrow(1, 1, 3):fill_(0)
      m[2].bias:fill_(0)
    end)
    local c = m:count({ input = { 2, 8 } })
    assert.are.equal(80 + 10 + 40 + 4, c.params)
    assert.are.equal(c.params - 24, c.params_nonzero)
    assert.are.equal(2 * (80 + 40), c.macs_dense)
    assert.are.equal(2 * (80 - 24 + 40), c.macs_paper)
    assert.are.equal(2 * (80 + 40), c.macs_run)
    assert.are.equal(c.params - 60, m:count({ input = { 2, 8 }, density = 0.5 }).params_nonzero)
    assert.are.equal(14, m:count({ input = { 2, 8 }, density = 0 }).params_nonzero)
  end)

  it("that masks hold at zero count as zero", function()
    local m = pelk.models.create("pelk_nano")
    local masks = pelk.sparse.attach(m, { density = 0.3, init = "erk" })
    local kept, weights, c = 0, 0, m:count({ image_size = 28 })
    for _, entry in ipairs(m:named_parameters()) do
      local mask = masks:masks()[entry.name]
      if entry.name:find("weight$") and entry.tensor:dim() > 1 then
        weights = weights + entry.tensor:numel()
        kept = kept + (mask and mask:sum():item() or entry.tensor:numel())
      end
    end
    assert.are.equal(c.params - weights + kept, c.params_nonzero)
    near(0.3, kept / weights, 3)
    assert(c.macs_paper < 0.95 * c.macs_dense)
  end)

  it("of a layer that stands in two places count once, its multiply-adds twice", function()
    local layer = pelk.nn.Linear(6, 6)
    local c = pelk.nn.Sequential(layer, pelk.nn.ReLU(), layer):count({ input = { 1, 6 } })
    assert.are.same({ 42, 72 }, { c.params, c.macs_run })
  end)

  it("grow with the kernel as the paper's figure 6 shows: all of ConvNeXt-T's kernels set to k", function()
    local rest, channels = count("convnext_tiny").params, {}
    for _, row in ipairs(rows_of("convnext_tiny", { 1, 32, 32, 3 })) do
      if row.class == "DepthwiseConv" then
        channels[#channels + 1] = row.shape[4]
        rest = rest - row.own_params
      end
    end
    local function total(make)
      local sum, known = rest, {}
      for _, c in ipairs(channels) do
        known[c] = known[c] or core.blank(make, c):count({ image_size = 7, density = 1 }).params
        sum = sum + known[c]
      end
      return sum / 1e6
    end
    local nn = pelk.nn
    for k, wanted in pairs({ [7] = 28.6, [31] = 34.6, [51] = 45.5, [101] = 95.8, [151] = 179.3 }) do
      near(wanted, total(function(c) return nn.DepthwiseConv({ channels = c, kernel = k }) end), 1, "dense " .. k)
    end
    for k, wanted in pairs({ [31] = 30.3, [51] = 31.6, [101] = 35.0, [151] = 38.3 }) do
      near(wanted, total(function(c) return nn.StripeConv({ channels = c, kernel = k, short_side = 5 }) end), 1,
        "stripe " .. k)
    end
    for k, wanted in pairs({ [31] = 29.07, [51] = 29.38, [101] = 29.75, [151] = 30.18 }) do
      near(wanted, total(function(c)
        return nn.PeripheralConv({ channels = c, kernel = k, bias = true, position_mode = "off" })
      end), 2, "peripheral " .. k)
    end
  end)
end)

--- Along one axis: pairs of an output and a band of taps that has something in the image; and taps in the image.
local function axis(size, bands, stride, padding, dilation)
  local span, at = 0, {}
  for i, b in ipairs(bands) do
    at[i] = span
    span = span + (i < #bands and (dilation > 1 and dilation or b) or b)
  end
  local outputs = (size + 2 * padding - span) // stride + 1
  local pairs_, taps = 0, 0
  for o = 0, outputs - 1 do
    for i, b in ipairs(bands) do
      local seen = 0
      for t = at[i], at[i] + b - 1 do
        local place = o * stride - padding + t
        if place >= 0 and place < size then seen = seen + 1 end
      end
      taps = taps + seen
      if seen > 0 then pairs_ = pairs_ + 1 end
    end
  end
  return { outputs = outputs, pairs = pairs_, taps = taps }
end

local function ones(n)
  local list = {}
  for i = 1, n do list[i] = 1 end
  return list
end

describe("the four conventions, counted tap by tap", function()
  it("for depthwise kernels with strides, padding, dilation", function()
    for _, case in ipairs({ { 7, 5, 3, 3, 1, 1, 1 }, { 9, 12, 5, 3, 2, 1, 1 }, { 6, 6, 13, 13, 1, 6, 1 },
      { 10, 8, 3, 5, 2, 2, 2 }, { 11, 11, 2, 4, 3, 0, 1 } }) do
      local h, w, kh, kw, stride, padding, dilation = table.unpack(case)
      local m = pelk.nn.DepthwiseConv({ channels = 3, kernel = { kh, kw }, stride = stride, padding = padding,
        dilation = dilation })
      local rows, cols = axis(h, ones(kh), stride, padding, dilation), axis(w, ones(kw), stride, padding, dilation)
      local c = m:count({ image_size = { h, w }, batch = 2, density = 0.5 })
      assert.are.equal(6 * rows.outputs * cols.outputs * kh * kw, c.macs_dense)
      assert.are.equal(3 * rows.outputs * cols.outputs * kh * kw, c.macs_paper)
      assert.are.equal(6 * rows.taps * cols.taps, c.macs_in_image)
      assert.are.equal(6 * rows.taps * cols.taps, c.macs_run)
    end
  end)

  it("for peripheral kernels, smaller and larger than the map", function()
    for _, case in ipairs({ { 9, 12, 9, 2 }, { 14, 14, 47, 2 }, { 7, 7, 13, 3 }, { 5, 30, 51, 1 }, { 1, 1, 9, 2 } }) do
      local h, w, k, radius = table.unpack(case)
      local grid = pelk.grid(k, { radius = radius })
      local m = pelk.nn.PeripheralConv({ channels = 4, kernel = k, radius = radius, position_mode = "off" })
      local rows, cols = axis(h, grid, 1, k // 2, 1), axis(w, grid, 1, k // 2, 1)
      local c = m:count({ image_size = { h, w } })
      assert.are.equal(4 * h * w * k * k, c.macs_dense)
      assert.are.equal(4 * rows.taps * cols.taps, c.macs_in_image)
      assert.are.equal(4 * rows.pairs * cols.pairs, c.macs_run)
    end
  end)

  it("the position's table is work of a forward, one product a tap in reach", function()
    local function run(mode)
      return pelk.nn.PeripheralConv({ channels = 4, kernel = 51, position_mode = mode }):count(
        { image_size = 14, batch = 3 }).macs_run
    end
    assert.are.equal(4 * 27 * 27, run("valid") - run("off"))
    assert.are.equal(4 * 13 * 13, run("all") - run("off"))
  end)

  it("for convolutions, whose patches hold the padding", function()
    local m = pelk.nn.Conv2d({ in_channels = 4, out_channels = 6, kernel = 3, stride = 2, padding = 1, groups = 2 })
    local rows, cols = axis(9, ones(3), 2, 1, 1), axis(8, ones(3), 2, 1, 1)
    local c = m:count({ image_size = { 9, 8 } })
    assert.are.equal(6 * 2 * 9 * rows.outputs * cols.outputs, c.macs_dense)
    assert.are.equal(6 * 2 * rows.taps * cols.taps, c.macs_in_image)
    assert.are.equal(c.macs_dense, c.macs_run)
  end)

  it("for products of matrices; nothing for norms and activations", function()
    local m = pelk.nn.Sequential(function(x) return x:matmul(x:transpose(2, 3)) end, pelk.nn.LayerNorm(5),
      pelk.nn.GELU())
    local c = m:count({ input = { 2, 5, 7 }, density = 0.25 })
    assert.are.same({ 350, 350, 350, 350 }, { c.macs_paper, c.macs_dense, c.macs_in_image, c.macs_run })
  end)
end)

describe("counting", function()
  it("gives the shapes of a real forward, and takes neither memory nor values", function()
    local m = pelk.models.create("pelk_nano"):eval()
    local x = pelk.randn({ 2, 28, 28, 1 })
    local y = m(x)
    local measured, counted = core.profile(m, x), core.count(m, { 2, 28, 28, 1 })
    assert.are.equal(#measured, #counted)
    for i, row in ipairs(measured) do
      assert.are.same({ row.path, row.shape, row.calls }, { counted[i].path, counted[i].shape, counted[i].calls })
    end
    assert(m(x):equal(y))
    collectgarbage()
    pelk.reset_peak()
    local before = pelk.memory()
    assert(m:count({ image_size = 4096 }).macs_run > 1e11)
    assert(pelk.memory().peak - before.live < 1e6)
  end)

  it("does not disturb what a merged model keeps", function()
    local m = pelk.models.create("pelk_nano"):eval()
    local x = pelk.randn({ 1, 28, 28, 1 })
    local plain = m:count({ image_size = 28 })
    m:merge()
    local merged = m:count({ image_size = 28 })
    local y = m(x)
    assert.are.same(merged, m:count({ image_size = 28 }))
    assert(m(x):equal(y))
    local fresh = pelk.models.create("pelk_nano")
    fresh:merge()
    fresh:load_state_dict(m:state_dict())
    assert(fresh:eval()(x):equal(y))
    assert(merged.macs_run < plain.macs_run and merged.params < plain.params)
  end)

  it("that runs out of memory raises, and counts right the next time", function()
    local m = pelk.nn.Sequential(pelk.nn.PeripheralConv({ channels = 4, kernel = 9 }), pelk.nn.DepthwiseConv(4, 3),
      pelk.nn.Conv2d(4, 6, 3))
    local wanted, failures, i, done = m:count({ image_size = 9 }), 0, 0, false
    while not done do
      i = i + 1
      core._fail_alloc(i, true)
      local before = core._alloc_count()
      local ok, c = pcall(m.count, m, { image_size = 9 })
      done = core._alloc_count() - before < i
      core._fail_alloc(0)
      assert(i < 10000)
      if ok then assert.are.same(wanted, c) else failures = failures + 1 end
    end
    assert(failures > 5)
    assert.are.same(wanted, m:count({ image_size = 9 }))
    assert.are.same({ 1, 7, 7, 6 }, m(pelk.randn({ 1, 9, 9, 4 })):shape())
  end)

  it("prints as a table", function()
    local text = tostring(count("pelk_tiny", nil, { density = 0.6 }))
    for _, part in ipairs({ "parameters +47,927,974", "not zero +28,795,168   at density 0.6", "paper +5.841 G",
      "dense +9.735 G", "in image +8.249 G", "run +%d" }) do
      assert(text:find(part), text)
    end
  end)

  it("says what is wrong", function()
    local m = pelk.models.create("pelk_nano")
    fails("count: unknown option 'image_sise', did you mean 'image_size'", m.count, m, { image_sise = 28 })
    fails("density must be 0 to 1, got 1.5", m.count, m, { density = 1.5 })
    fails("density must be at least 0", m.count, m, { density = -0.5 })
    fails("image_size must be at least 1, got 0", m.count, m, { image_size = 0 })
    fails("image_size must be n or {h, w}, got a list of 3", m.count, m, { image_size = { 1, 2, 3 } })
    fails("from 1 on, or {h, w}, got 1.5", m.count, m, { image_size = { 1.5, 2 } })
    fails("expected images {N,H,W,1}, got {1,28,28,3}", m.count, m, { image_size = 28, channels = 3 })
    fails("must be a pelk.Module, got nil", m.count)
    fails("1: linear", m.count, pelk.nn.Sequential(pelk.nn.ReLU(), pelk.nn.Linear(4, 8)), { input = { 2, 3 } })
    assert.is_true(m.training)
  end)
end)

describe("summary", function()
  it("counts parameters and multiply-adds, and prints as a table", function()
    local m = pelk.models.create("pelk_nano")
    local s = m:summary({ image_size = 28, depth = 8 })
    local c = m:count({ image_size = 28 })
    assert.are.same({ c.params, c.macs_run }, { s.params, s.macs })
    local text = tostring(s)
    for _, part in ipairs({ "PeripheralConv%(12%) +31, grid 7,4,2,1,1,1 +{1,14,14,12}", "blocks.0%-2 +3 x Block%(64",
      "parameters +444,285" }) do
      assert(text:find(part), text)
    end
    assert.is_nil(text:find("ms"))
    assert.is_true(m.training)
    local own = 0
    for _, row in ipairs(s) do own = own + row.own_params end
    assert.are.equal(c.params, own)
    fails("summary: the model must be a pelk.Module, got nil", m.summary)
    fails("did you mean 'measure'", m.summary, m, { measured = true })
  end)

  it("fits a terminal", function()
    local lines, m <close> = 0, core.blank(pelk.models.create, "pelk_tiny")
    for line in (tostring(m:summary()) .. "\n"):gmatch("(.-)\n") do
      lines = lines + 1
      assert(#line <= 130, line)
    end
    assert(lines < 50)
    assert(select(2, tostring(m:summary({ depth = 0 })):gsub("\n", "")) < 12)
  end)

  it("adds up the parts of lists that do not run themselves", function()
    local m <close> = core.blank(pelk.models.create, "replknet_31b", { depths = { 1, 1 }, dims = { 8, 16 },
      kernels = 13 })
    local s, sum, whole = m:summary({ image_size = 32 }), 0, nil
    for _, row in ipairs(s) do
      if row.path:find("^stages%.%d$") then sum = sum + row.macs end
      if row.path == "stages" then whole = row.macs end
    end
    assert(sum > 0 and whole == sum)
  end)

  it("folds only what is alike", function()
    local nn = pelk.nn
    local text = tostring(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4, false)):summary(
      { input = { 1, 4 } }))
    assert(text:find("0%-1 +2 x Linear%(4 %-> 4%)") and text:find("\n  2 +Linear%(4 %-> 4, no bias%)"), text)
  end)

  it("measures when asked", function()
    local m = pelk.models.create("pelk_nano")
    local s = m:summary({ image_size = 28, measure = true, repeats = 1 })
    assert(s[1].seconds > 0)
    assert(tostring(s):find("share") and tostring(s):find("a forward at input {1,28,28,1}", 1, true))
  end)

  it("costs a 101x101 kernel little more than a 51x51 one", function()
    local function macs(k)
      return pelk.nn.PeripheralConv({ channels = 16, kernel = k }):summary({ image_size = 56 }).macs
    end
    assert(macs(101) < 1.6 * macs(51))
  end)
end)

describe("profile", function()
  it("says where the time goes", function()
    local m = pelk.models.create("pelk_nano")
    local p = m:profile(pelk.randn({ 2, 28, 28, 1 }), { repeats = 1 })
    local below = 0
    for _, row in ipairs(p) do
      assert(row.seconds >= 0 and row.share <= 1)
      if row.depth == 1 then below = below + row.share end
    end
    assert.are.equal(1, p[1].share)
    assert(below > 0.5 and below <= 1)
    assert.is_true(m.training)
    assert(tostring(p):find("100.0 %%"))
    fails("wants a tensor", m.profile, m, 3)
    fails("must be a pelk.Module", m.profile)
    fails("expected images {N,H,W,1}", m.profile, m, pelk.randn({ 1, 8, 8, 3 }))
  end)
end)
