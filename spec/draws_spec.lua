-- What transforms draw at random: strengths, boxes, crops and colours, held against the distributions they promise.
-- Seeds are fixed, so each run sees the same draws; the tolerances are about four standard errors.

local pelk = require "pelk"
local core = require "pelk.core"
local data = require "pelk.data"
local help = require "spec.help"

local T = data.transforms
local raises, near = help.raises, help.near

-- n pictures that are all x {1,h,w,c}, each through the transform with draws of its own.
local function draw(x, n, transform, epoch)
  local rows = core.epoch_order(n, false, 0, 0)
  local all = core.empty { n, x:size(2), x:size(3), x:size(4), dtype = x:dtype() }
  all:copy_(x:expand(all:shape()))
  return core.batch(all, nil, rows, 1, n, { transform }, 11, epoch or 1)
end

-- The largest distance between the distribution of the values and cdf (Kolmogorov, Smirnov).
local function distance(values, cdf)
  local sorted, n, most = { table.unpack(values) }, #values, 0
  table.sort(sorted)
  for i, v in ipairs(sorted) do
    local want = math.min(1, math.max(0, cdf(v)))
    most = math.max(most, math.abs(i / n - want), math.abs((i - 1) / n - want))
  end
  return most
end

local function uniform(low, high) return function(v) return (v - low) / (high - low) end end

local function log_uniform(low, high)
  return function(v) return math.log(v / low) / math.log(high / low) end
end

-- Mean, and mean of the squares around it.
local function moments(values)
  local sum, squares = 0, 0
  for _, v in ipairs(values) do sum, squares = sum + v, squares + v * v end
  return sum / #values, squares / #values - (sum / #values) ^ 2
end

-- A list of f(box) over boxes.
local function each(boxes, f)
  local out = {}
  for i, box in ipairs(boxes) do out[i] = f(box) end
  return out
end

-- Every place that a box of its size can have is as likely as any other.
local function check_places(boxes, height, width)
  for _, key in ipairs { "top", "left" } do
    local places, first, last, expected = {}, 0, 0, 0
    for i, box in ipairs(boxes) do
      local free = key == "top" and height - box.h or width - box.w
      assert.truthy(box[key] >= 0 and box[key] <= free)
      places[i] = (box[key] + 0.5) / (free + 1)
      expected = expected + 1 / (free + 1)
      first, last = first + (box[key] == 0 and 1 or 0), last + (box[key] == free and 1 or 0)
    end
    assert.near(0.5, (moments(places)), 0.025)
    assert.near(expected, first, 4 * math.sqrt(expected))
    assert.near(expected, last, 4 * math.sqrt(expected))
  end
end

describe("strengths of rand_augment", function()
  -- timm's auto_augment.py for "inc1": what a level of 0, 1, 2.5, ... is to each change; where a sign is drawn, the
  -- second row is the other one.
  local levels = { 0, 1, 2.5, 5, 7.4, 8.5, 9, 9.3, 10 }
  local shear = { 0, 0.03, 0.075, 0.15, 0.222, 0.255, 0.27, 0.279, 0.3 }
  local shift = { 0, 0.045, 0.1125, 0.225, 0.333, 0.3825, 0.405, 0.4185, 0.45 }
  local more = { 1, 1.09, 1.225, 1.45, 1.666, 1.765, 1.81, 1.837, 1.9 }
  local less = { 1, 0.91, 0.775, 0.55, 0.334, 0.235, 0.19, 0.163, 0.1 }
  local function minus(list) return each(list, function(v) return -v end) end
  local rotation = { 0, 3, 7.5, 15, 22.2, 25.5, 27, 27.9, 30 }
  local none = { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  local increasing = {
    rotate = { rotation, minus(rotation) },
    posterize = { { 4, 4, 3, 2, 2, 1, 1, 1, 0 } },
    solarize = { { 256, 231, 192, 128, 67, 39, 26, 18, 0 } },
    solarize_add = { { 0, 11, 27, 55, 81, 93, 99, 102, 110 } },
    color = { more, less }, contrast = { more, less }, brightness = { more, less }, sharpness = { more, less },
    shear_x = { shear, minus(shear) }, shear_y = { shear, minus(shear) },
    translate_x = { shift, minus(shift) }, translate_y = { shift, minus(shift) },
    auto_contrast = { none }, equalize = { none }, invert = { none },
  }
  local factor = { 0.1, 0.28, 0.55, 1, 1.432, 1.63, 1.72, 1.774, 1.9 }
  local plain = { -- where the policy does not say "inc"
    posterize = { 0, 0, 1, 2, 2, 3, 3, 3, 4 }, solarize = { 0, 25, 64, 128, 189, 217, 230, 238, 256 },
    color = factor, contrast = factor, brightness = factor, sharpness = factor,
  }

  it("are timm's", function()
    local n = 0
    for name, rows in pairs(increasing) do
      n = n + 1
      for i, level in ipairs(levels) do
        for sign = 1, 2 do
          local want, say = (rows[sign] or rows[1])[i], ("%s at %g, sign %d"):format(name, level, sign)
          assert.near(want, core._augment_value(name, level, true, sign == 2), 1e-9, say)
          local without = plain[name] and plain[name][i] or want
          assert.near(without, core._augment_value(name, level, false, sign == 2), 1e-9, say .. ", not increasing")
        end
      end
    end
    assert.equal(15, n)
    assert.has_error(function() core._augment_value("blur", 9, true, false) end)
  end)

  local named = { increasing = "rand-m9-n1-p1-inc1", plain = "rand-m9-n1-p1" }
  for kind, policy in pairs(named) do
    it("are what pictures get, each change and sign equally often, " .. kind, function()
      pelk.manual_seed(4)
      local floats = pelk.rand { 9, 8, 3 } * 255
      local x = core.empty { 9, 8, 3, dtype = "uint8" }
      x:copy_(floats)
      local which, counts, n = {}, {}, 3000
      for name, rows in pairs(increasing) do
        for sign = 1, kind == "plain" and plain[name] and 1 or #rows do
          local value = core._augment_value(name, 9, kind == "increasing", sign == 2)
          local made = table.concat(core._augment(x, name, value, "bilinear"):flat(), " ")
          assert.is_nil(which[made], name)
          which[made] = name .. sign
          counts[name .. sign] = 0
        end
      end
      local step = T.rand_augment { policy = policy, interpolation = "bilinear" }
      local y = core.empty { n, 9, 8, 3, dtype = "uint8" }
      y:copy_(draw(x:view { 1, 9, 8, 3 }, n, step))
      for i = 1, n do
        local name = which[table.concat(y[i]:flat(), " ")]
        assert.truthy(name, "a picture that none of the changes makes")
        counts[name] = counts[name] + 1
      end
      for name, count in pairs(counts) do
        local share = counts[name:sub(1, -2) .. "2"] and 1 / 30 or 1 / 15
        assert.near(n * share, count, 4 * math.sqrt(n * share), name)
      end
    end)
  end

  it("are drawn around the magnitude and stay below 10", function()
    local added, n = {}, 6000
    local ramp = core.empty { 1, 5, 6, 1, dtype = "uint8" }
    ramp:copy_(core.arange(0, 29):view { 1, 5, 6, 1 })
    local y = draw(ramp, n, T.rand_augment("rand-m9-n1-p1-mstd0.5-inc1")):view { n, 30 }
    for i = 1, n do -- only solarize_add makes the same ramp, higher
      local got = y[i]:flat()
      local same = got[1] > 0
      for j = 2, 30 do same = same and got[j] - got[1] == j - 1 end
      if same then added[#added + 1] = got[1] end
    end
    assert.near(n / 15, #added, 80)
    local mean, variance = moments(added) -- floor(11 level), the level normal (9, 0.5) up to 10
    assert.near(98.46, mean, 1.1)
    assert.near(5.4, math.sqrt(variance), 0.8)
    table.sort(added)
    assert.equal(110, added[#added])
    assert.truthy(added[#added - 3] == 110 and added[#added - 40] < 110) -- one in 44 is cut
  end)
end)

describe("random_erasing", function()
  -- Which pixels of x, of one value, are others in y: {n,h,w,1} of 0 and 1, and the box of each picture that has one.
  local function erased(y, kept, put)
    local mask = (y:narrow(4, 1, 1) - kept) / (put - kept)
    local n, h, w = mask:size(1), mask:size(2), mask:size(3)
    local rows, columns, boxes = mask:sum { 3, 4 }:flat(), mask:sum { 2, 4 }:flat(), {}
    local function span(list, first, count)
      local low, high
      for i = 1, count do
        if list[first + i] > 0 then low, high = low or i, i end
      end
      return low, high
    end
    for i = 0, n - 1 do
      local top, bottom = span(rows, i * h, h)
      if top then
        local left, right = span(columns, i * w, w)
        local box = { picture = i + 1, top = top - 1, left = left - 1, h = bottom - top + 1, w = right - left + 1 }
        for y0 = top, bottom do assert.equal(box.w, rows[i * h + y0]) end -- all of it, and nothing beside it
        for x0 = left, right do assert.equal(box.h, columns[i * w + x0]) end
        boxes[#boxes + 1] = box
      end
    end
    return mask, boxes
  end

  it("happens as often as it should", function()
    local x = pelk.ones { 1, 12, 12, 1 }
    for _, p in ipairs { 0, 0.25, 0.7, 1 } do
      local _, boxes = erased(draw(x, 2000, T.random_erasing { p = p }), 1, 0)
      assert.near(p, #boxes / 2000, 4 * math.sqrt(p * (1 - p) / 2000))
    end
    assert.equal(0.25, T.random_erasing {}:options().p)
  end)

  it("takes boxes of uniform area, of log-uniform shape, anywhere", function()
    local h, w = 48, 72
    local x = core.zeros { 1, h, w, 1 }
    local step = T.random_erasing { p = 1, min_area = 0.05, max_area = 0.2, value = 1 } -- any shape of these fits
    local _, boxes = erased(draw(x, 2000, step), 0, 1)
    assert.equal(2000, #boxes)
    for _, box in ipairs(boxes) do
      local slack = (box.h + box.w) / 2 + 0.25 -- sides are rounded
      assert.truthy(box.h * box.w >= 0.05 * h * w - slack and box.h * box.w <= 0.2 * h * w + slack)
      assert.truthy((box.h + 0.5) / (box.w - 0.5) >= 0.3 and (box.h - 0.5) / (box.w + 0.5) <= 1 / 0.3)
    end
    local areas = each(boxes, function(box) return box.h * box.w / (h * w) end)
    assert.near(0.125, (moments(areas)), 0.004)
    assert.truthy(distance(areas, uniform(0.05, 0.2)) < 0.04)
    assert.truthy(distance(each(boxes, function(box) return box.h / box.w end), log_uniform(0.3, 1 / 0.3)) < 0.04)
    check_places(boxes, h, w)
  end)

  it("leaves pictures alone that no box fits", function()
    local x = pelk.ones { 1, 2, 200, 1 }
    assert.is_true(draw(x, 100, T.random_erasing { p = 1, min_area = 0.5, max_area = 0.6 }):equal(draw(x, 100,
      T.random_erasing { p = 0 })))
  end)

  local n, h, w = 2000, 12, 16
  local function both(mode)
    local x = core.zeros { 1, h, w, 3 } + 5
    local function step(kind) return T.random_erasing { p = 0.8, mode = kind, value = -3 } end
    local mask, boxes = erased(draw(x, n, step "const"), 5, -3)
    local y = draw(x, n, step(mode))
    assert.is_true(((y - 5) * (1 - mask)):abs():max():item() == 0) -- the same boxes, and nothing else
    return y, mask, boxes
  end

  it("puts one colour in a box in mode rand", function()
    local y, mask, boxes = both "rand"
    local colors, all, seen = core.zeros { n, 1, 1, 3 }, {}, {}
    local product = 0
    for _, box in ipairs(boxes) do
      local color = y[box.picture][box.top + 1][box.left + 1]
      colors[box.picture][1][1]:copy_(color)
      local values = color:flat()
      for _, v in ipairs(values) do
        assert.is_nil(seen[v])
        seen[v], all[#all + 1] = true, v
      end
      product = product + values[1] * values[2] + values[2] * values[3]
    end
    assert.is_true(y:equal(mask * colors + (1 - mask) * 5))
    local mean, variance = moments(all)
    assert.near(0, mean, 0.06)
    assert.near(1, variance, 0.08)
    assert.near(0, product / (2 * #boxes), 0.08) -- channels do not know of each other
    local within = 0
    for _, v in ipairs(all) do within = within + (math.abs(v) < 1 and 1 or 0) end
    assert.near(0.6827, within / #all, 0.025)
    local _, again = both "rand"
    assert.same(mask:flat(), again:flat())
  end)

  it("puts a value of its own at each place in mode pixel", function()
    local y, mask = both "pixel"
    local noise = y * mask
    local count = 3 * mask:sum():item()
    assert.truthy(count > 1e5)
    local squares = noise * noise
    assert.near(0, noise:sum():item() / count, 4 / math.sqrt(count))
    assert.near(1, squares:sum():item() / count, 4 * math.sqrt(2 / count))
    assert.near(0, (squares * noise):sum():item() / count, 4 * math.sqrt(15 / count))
    assert.near(3, (squares * squares):sum():item() / count, 4 * math.sqrt(96 / count))
    local seen, distinct, values = {}, 0, 0
    for _, v in ipairs(noise:narrow(1, 1, 300):contiguous():flat()) do
      if v ~= 0 then
        values, distinct = values + 1, distinct + (seen[v] and 0 or 1)
        seen[v] = true
      end
    end
    assert.truthy(values > 10000 and distinct > 0.99 * values)
  end)
end)

describe("random_resized_crop", function()
  -- The boxes that crops of a picture h x w had: its channels hold the column and the row of each pixel, which an
  -- enlarged crop shows in its middle as they are. size: odd, above h and w.
  local function boxes_of(h, w, n, size, given)
    local x = core.zeros { 1, h, w, 2 }
    for i = 1, h do x:narrow(2, i, 1):narrow(4, 2, 1):fill_(i - 1) end
    for j = 1, w do x:narrow(3, j, 1):narrow(4, 1, 1):fill_(j - 1) end
    given.size = size
    local y = draw(x, n, T.random_resized_crop(given))
    local middle = (size + 1) // 2
    local at = y:narrow(2, middle - 1, 3):narrow(3, middle - 1, 3):contiguous():flat()
    local function whole(v)
      local rounded = math.floor(v + 0.5)
      assert.near(rounded, v, 0.01)
      return rounded
    end
    local boxes = {}
    for i = 0, n - 1 do
      local function value(row, column, channel) return at[((i * 3 + row - 1) * 3 + column - 1) * 2 + channel] end
      local box = { w = whole((value(2, 3, 1) - value(2, 1, 1)) / 2 * size),
        h = whole((value(3, 2, 2) - value(1, 2, 2)) / 2 * size) }
      box.left, box.top = whole(value(2, 2, 1) + 0.5 - box.w / 2), whole(value(2, 2, 2) + 0.5 - box.h / 2)
      boxes[i + 1] = box
    end
    return boxes
  end

  it("takes a uniform part of the area, of log-uniform shape, anywhere", function()
    local h, w = 40, 30
    local boxes = boxes_of(h, w, 2000, 41, { scale = { 0.1, 0.45 }, ratio = { 0.5, 1.5 } }) -- all of these fit
    for _, box in ipairs(boxes) do
      local slack = (box.h + box.w) / 2 + 0.25
      assert.truthy(box.h * box.w >= 0.1 * h * w - slack and box.h * box.w <= 0.45 * h * w + slack)
      assert.truthy((box.w + 0.5) / (box.h - 0.5) >= 0.5 and (box.w - 0.5) / (box.h + 0.5) <= 1.5)
    end
    local areas = each(boxes, function(box) return box.h * box.w / (h * w) end)
    assert.near(0.275, (moments(areas)), 0.01)
    assert.truthy(distance(areas, uniform(0.1, 0.45)) < 0.04)
    assert.truthy(distance(each(boxes, function(box) return box.w / box.h end), log_uniform(0.5, 1.5)) < 0.04)
    check_places(boxes, h, w)
  end)

  it("takes 8 to 100 % of the area and 3:4 to 4:3 unless told otherwise", function()
    local least, most, narrow, wide = 1, 0, 1, 1
    for _, box in ipairs(boxes_of(36, 36, 2000, 37, {})) do
      local area, ratio = box.h * box.w / 36 ^ 2, box.w / box.h
      least, most = math.min(least, area), math.max(most, area)
      narrow, wide = math.min(narrow, ratio), math.max(wide, ratio)
    end
    assert.near(0.08, least, 0.01)
    assert.near(1, most, 0.03)
    assert.near(0.75, narrow, 0.05)
    assert.near(4 / 3, wide, 0.09)
  end)

  it("takes the middle when nothing fits", function()
    local function all(h, w, size, given, want)
      for _, box in ipairs(boxes_of(h, w, 200, size, given)) do assert.same(want, box) end
    end
    local much = { 0.9, 1 }
    all(10, 100, 101, { scale = much }, { top = 0, left = 43, h = 10, w = 13 })
    all(100, 10, 101, { scale = much }, { top = 43, left = 0, h = 13, w = 10 })
    all(20, 20, 21, { scale = { 1, 1 }, ratio = { 1.2, 1.4 } }, { top = 1, left = 0, h = 17, w = 20 })
    all(20, 24, 25, { scale = { 1, 1 }, ratio = { 0.5, 0.8 } }, { top = 0, left = 4, h = 20, w = 16 })
  end)
end)

describe("rand_augment", function()
  it("is written as timm writes it", function()
    local o = T.rand_augment("rand-m7-n3-mstd1.5-p0.25"):options()
    assert.same({ 7, 3, 1.5, 0.25, false }, { o.magnitude, o.num_layers, o.magnitude_std, o.prob, o.increasing })
    assert.is_true(T.rand_augment("rand-m9-mstd0.5-inc1"):options().increasing)
    raises("rand%-m9", T.rand_augment, "augmix-m3")
    raises("'x9' is not understood", T.rand_augment, "rand-x9")
    raises("wants uint8 pictures", data.loader, data.tensors(pelk.rand { 2, 4, 4, 3 }),
      { transforms = { T.rand_augment() } })
    raises("1 or 3 channels", data.loader, data.tensors(core.zeros { 2, 4, 4, 2, dtype = "uint8" }),
      { transforms = { T.rand_augment() } })
  end)

  it("does each of its changes equally often", function()
    local n = 1500
    local row = core.arange(0, 63):view { 1, 8, 8, 1 }
    local x = core.empty { n, 8, 8, 1, dtype = "uint8" }
    x:copy_((row * 3):expand { n, 8, 8, 1 })
    local rows = core.epoch_order(n, false, 0, 0)
    local y = core.batch(x, nil, rows, 1, n, { T.rand_augment { num_layers = 1, prob = 0.5 } }, 1, 1)
    local changed = 0
    local first = x[1]:flat()
    for i = 1, n do
      local got = y[i]:flat()
      for j = 1, 64 do if got[j] ~= first[j] then changed = changed + 1 break end end
    end
    -- color leaves grey as it is, sharpness a ramp, equalize a picture of fewer than 255 pixels: half of 12 in 15
    assert.near(0.4, changed / n, 0.05)
  end)
end)

describe("mixup and cutmix", function()
  local function batch(n)
    local x = core.zeros { n, 8, 8, 1 }
    local labels = {}
    for i = 1, n do
      x[i]:fill_(i)
      labels[i] = i
    end
    return x, core.tensor(labels, { n }, { dtype = "int32" })
  end

  it("mix pictures and targets in the same share", function()
    for n = 4, 5 do
      for number = 1, 40 do
        local m = data.mixup { num_classes = n, label_smoothing = 0, cutmix_alpha = number % 2,
          mixup_alpha = 1 - number % 2 }
        local x, y = batch(n)
        local t = m:apply(x, y, 3, 1, number)
        assert.is_true(t:sum(2):allclose(pelk.ones { n }))
        for i = 1, n do -- each picture's mean is the mean of the classes by its target
          local want = 0
          for k = 1, n do want = want + k * t[i][k]:item() end
          assert.near(want, x[i]:mean():item(), 1e-4)
        end
      end
    end
  end)

  it("are drawn as they should", function()
    local cut, sum, square = 0, 0, 0
    for number = 1, 600 do
      local x, y = batch(2)
      local t = data.mixup({ num_classes = 2, label_smoothing = 0, cutmix_alpha = 0.8 }):apply(x, y, 1, 1, number)
      local values = x[1]:flat()
      local whole = true
      for _, v in ipairs(values) do whole = whole and v == math.floor(v) end
      if whole then cut = cut + 1 else
        local share = t[1][1]:item()
        sum, square = sum + share, square + share * share
      end
    end
    assert.near(0.5, cut / 600, 0.07) -- switch_prob
    local n = 600 - cut
    assert.near(0.5, sum / n, 0.06) -- Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1))
    assert.near(1 / (4 * 2.6), square / n - (sum / n) ^ 2, 0.025)
    local x, y = batch(2)
    local t = data.mixup({ num_classes = 2, prob = 0, label_smoothing = 0.2 }):apply(x, y, 1, 1, 1)
    near({ 0.9, 0.1, 0.1, 0.9 }, t:flat(), 1e-6)
    raises("num_classes is required", data.mixup, {})
    raises("label 2 of row 2", data.mixup({ num_classes = 1 }).apply, data.mixup { num_classes = 1 }, x, y)
  end)

  it("come out of a loader, the same from any batch on", function()
    local x, y = batch(12)
    local loader = data.loader(data.tensors(x, y),
      { batch = 4, shuffle = true, mixup = data.mixup { num_classes = 12 } })
    local whole = {}
    for a, b, number in loader:epoch(2) do whole[number] = { a, b } end
    assert.same({ 4, 12 }, whole[1][2]:shape())
    for a, b, number in loader:epoch(2, 2) do
      assert.is_true(a:equal(whole[number][1]) and b:equal(whole[number][2]))
    end
  end)

  it("leave weights to soft targets", function()
    local y = core.tensor({ 1, 3 }, { 2 }, { dtype = "int32" })
    near({ 0.5, 0, 0, 0, 0, 2 }, data.soft_targets(y, { weights = pelk.tensor { 0.5, 1, 2 } }):flat(), 1e-6)
    raises("num_classes is required", data.soft_targets, y)
    raises("label 3 of row 2", data.soft_targets, y, { num_classes = 2 })
  end)
end)
