-- Activation maps, principal components, boxes and how they are measured.

local pelk = require "pelk"
local core = require "pelk.core"
local viz = require "pelk.viz"
local localize = require "pelk.viz.localize"
local nn = core.nn

local help = require "spec.help"
local raises, refuses = help.raises, help.refuses
local dir

setup(function() dir = help.folder() end)
teardown(function() help.remove(dir) end)

local function bytes(rows)
  return pelk.zeros({ #rows, #rows[1] }, { dtype = "uint8" }):copy_(pelk.tensor(rows))
end

-- A map drawn with characters: '.' is 0, a digit that many tens.
local function drawing(...)
  local rows = {}
  for y, line in ipairs { ... } do
    rows[y] = {}
    for x = 1, #line do rows[y][x] = 10 * (tonumber(line:sub(x, x)) or 0) end
  end
  return bytes(rows)
end

describe("the first principal component", function()
  it("is the long axis", function()
    -- samples t (3, 4) / 5 + noise-free offset, and a shorter perpendicular spread
    local rows = {}
    for t = -3, 3 do rows[#rows + 1] = { 7 + 3 * t, 2 + 4 * t } end
    rows[#rows + 1], rows[#rows + 2] = { 7 + 4, 2 - 3 }, { 7 - 4, 2 + 3 }
    local c, explained = core.first_component(pelk.tensor(rows))
    assert.near(0.6, math.abs(c[1]:item()), 1e-6)
    assert.near(0.8, math.abs(c[2]:item()), 1e-6)
    assert.near(28 * 25 / (28 * 25 + 50), explained, 1e-6)
  end)

  it("points to the sample that is farthest", function()
    local c = core.first_component(pelk.tensor { { 0, 0 }, { 1, 0 }, { -5, 0 } })
    assert.near(-1, c[1]:item(), 1e-6)
    c = core.first_component(pelk.tensor { { 0, 0 }, { -1, 0 }, { 5, 0 } })
    assert.near(1, c[1]:item(), 1e-6)
  end)

  it("has unit length, is the same for any number of threads, finds close eigenvalues", function()
    pelk.manual_seed(5)
    local x = pelk.randn { 200, 37 }
    local c = core.first_component(x)
    assert.near(1, (c * c):sum():item(), 1e-5)
    local threads = pelk.threads()
    pelk.set_threads(1)
    local again = core.first_component(x)
    pelk.set_threads(threads)
    assert.is_true(c:equal(again))
    -- an eigenvector: X'X c = lambda c
    local centred = x - x:mean(1):unsqueeze(1)
    local image = centred:transpose(1, 2):matmul(centred:matmul(c:unsqueeze(2))):squeeze(2)
    local lambda = (image * c):sum():item()
    assert.truthy((image - c * lambda):abs():max():item() < 1e-4 * lambda)
    local python = help.python("numpy")
    if not python then
      pending("numpy is not there to cross-check")
      return
    end
    local file = io.open(dir .. "/x.txt", "w")
    for i = 1, 200 do file:write(table.concat(x[i]:flat(), " "), "\n") end
    file:close()
    local pipe = io.popen(([[%s -c "
import numpy as np
x = np.loadtxt('%s/x.txt')
x = x - x.mean(0)
u, s, v = np.linalg.svd(x, full_matrices=False)
k = np.abs(u[:, 0]).argmax()
print(*(v[0] * np.sign(u[k, 0])), (s[0] ** 2) / (s ** 2).sum())"]]):format(python, dir))
    local theirs = {}
    for word in pipe:read("a"):gmatch("%S+") do theirs[#theirs + 1] = tonumber(word) end
    pipe:close()
    local _, explained = core.first_component(x)
    for i = 1, 37 do assert.near(theirs[i], c[i]:item(), 1e-5) end
    assert.near(theirs[38], explained, 1e-6)
  end)

  it("of equal rows is nothing, and nonsense is refused", function()
    local c, explained = core.first_component(pelk.ones { 4, 3 })
    assert.same({ 0, 0, 0 }, c:flat())
    assert.equal(0, explained)
    assert.equal(1, (select(2, core.first_component(pelk.tensor { { 1 }, { 2 } }))))
    raises("wants float32 {N,D}", core.first_component, pelk.ones { 3 })
    raises("not all finite", core.first_component, pelk.tensor { { 0 / 0, 1 } })
  end)
end)

describe("maps", function()
  it("are resized by cubic convolution with a = -0.75", function()
    local t = pelk.tensor { { 0, 0, 1, 0, 0 } }
    -- to twice the width: output 4 looks at 1.75 (weights of distance .25 from the third), output 5 at 2.25
    local r = core.map_resize(t, 1, 10):flat()
    local function w(d)
      if d <= 1 then return 1.25 * d ^ 3 - 2.25 * d ^ 2 + 1 end
      return -0.75 * (d ^ 3 - 5 * d ^ 2 + 8 * d - 4)
    end
    for o = 3, 8 do assert.near(w(math.abs((o - 0.5) / 2 - 0.5 - 2)), r[o], 1e-6) end
    assert.near(w(0.25), r[5], 1e-6)
    assert.near(w(1.25), r[3], 1e-6)
    assert.near(0, r[1], 1e-6)
    assert.is_true(core.map_resize(pelk.ones { 3, 4 }, 7, 2):allclose(pelk.ones { 7, 2 }))
    assert.is_true(core.map_resize(t, 1, 5):equal(t))
    raises("a size is", core.map_resize, t, 0, 5)
  end)

  it("are brought to 0..1", function()
    assert.same({ 0, 0.5, 1 }, core.map_normalize(pelk.tensor { { -2, 0, 2 } }):flat())
    assert.same({ 0, 0 }, core.map_normalize(pelk.tensor { { 3, 3 } }):flat())
    assert.same({ 0, 0 }, core.map_normalize(pelk.tensor { { 0 / 0, 3 } }):flat())
  end)

  it("know their border, ours and the published one", function()
    local t = pelk.zeros { 5, 5 }
    for i = 1, 5 do
      t[1][i]:fill_(1)
      t[5][i]:fill_(1)
      t[i][1]:fill_(1)
      t[i][5]:fill_(1)
    end
    assert.equal(1, core.map_border(t))
    assert.equal(1, core.map_border(t, true))
    t[4][4]:fill_(1) -- the last two rows and columns count there
    assert.equal(1, core.map_border(t))
    assert.equal(17 / 16, core.map_border(t, true))
    t:fill_(0)
    t[4][3]:fill_(1)
    assert.equal(0, core.map_border(t))
    assert.equal(1 / 16, core.map_border(t, true))
  end)
end)

describe("boxes", function()
  local shape = drawing(
    "..........",
    ".999..1...",
    ".9.9..12..",
    ".999......",
    "....5...77",
    ".....5..77",
    "..........")

  it("surround connected parts, diagonals and holes too", function()
    -- the ring and the 5s touch by a corner: one part, then the hole's outline
    assert.same({ { 1, 1, 5, 5 }, { 6, 1, 7, 2 }, { 8, 4, 9, 5 }, { 1, 1, 3, 3 } },
      core.boxes(shape, 5, false):tolist())
    assert.same({ { 1, 1, 3, 3 }, { 8, 4, 9, 5 }, { 1, 1, 3, 3 } }, core.boxes(shape, 60, false):tolist())
    assert.same({ { 1, 1, 5, 5 } }, core.boxes(shape, 5, true):tolist())
    assert.same({ 0, 4 }, core.boxes(shape, 255, false):shape())
    assert.same({ 0, 4 }, core.boxes(shape, 255, true):shape())
  end)

  it("of the largest outline: a thin ring encloses more than a block of more pixels", function()
    local t = drawing(
      "99999.....",
      "9...9.9999",
      "9...9.9999",
      "9...9.9999",
      "99999.9999",
      "......9999")
    -- outlines through pixel centres: 4 x 4 = 16 against 3 x 4 = 12
    assert.same({ { 0, 0, 4, 4 } }, core.boxes(t, 0, true):tolist())
    -- a part inside the hole is another part, but never the largest
    assert.equal(3, core.boxes(drawing("99999", "9...9", "9.9.9", "9...9", "99999"), 0, false):size(1))
  end)

  it("follow MaxBoxAcc's conventions", function()
    local known = pelk.tensor({ 8, 4, 9, 5 }, { 1, 4 }, { dtype = "int32" })
    local curve = core.box_curve(shape, known, false):flat()
    -- level 60: {8,4,9,5} becomes {8,4,9,6} (one further, cut at column 9): 4 of 6
    assert.near(4 / 6, curve[61], 1e-6)
    assert.near(0, curve[91], 1e-6) -- nothing above 90: {0,0,0,0}
    curve = core.box_curve(shape, pelk.tensor({ 0, 0, 0, 1 }, { 1, 4 }, { dtype = "int32" }), true):flat()
    assert.near(0.5, curve[256], 1e-6)
    raises("int32 {n,4}", core.box_curve, shape, pelk.ones { 1, 4 })
    raises("wants a uint8 map", core.boxes, pelk.ones { 2, 2 }, 0)
    raises("a level is", core.boxes, shape, 256)
  end)

  it("are OpenCV's", function()
    local python = help.python("cv2")
    if not python then
      pending("python3-opencv is not there to cross-check")
      return
    end
    pelk.manual_seed(11)
    local h, w, maps, raw = 26, 35, {}, {}
    for i = 1, 3 do
      local coarse = pelk.randn { 3 + 2 * i, 4 + 2 * i }
      maps[i] = pelk.zeros({ h, w }, { dtype = "uint8" }):copy_(core.map_normalize(core.map_resize(coarse, h, w)) * 255)
      raw[i] = string.char(table.unpack(maps[i]:flat()))
    end
    help.write(dir .. "/maps", table.concat(raw))
    local pipe = io.popen(("%s spec/opencv/boxes.py '%s/maps' %d %d '5,6,20,19;12,2,30,24'"):format(python, dir, h, w))
    local known = pelk.tensor({ 5, 6, 20, 19, 12, 2, 30, 24 }, { 2, 4 }, { dtype = "int32" })
    for i = 1, 3 do
      for _, largest in ipairs { true, false } do
        local ours, level = core.box_curve(maps[i], known, largest):flat(), 0
        for word in pipe:read("l"):gmatch("%S+") do
          level = level + 1
          assert.near(tonumber(word), ours[level], 1e-6, ("map %d, level %d"):format(i, level - 1))
        end
        assert.equal(256, level)
      end
    end
    pipe:close()
  end)
end)

describe("max_box_acc", function()
  -- A map that is 1 in a rectangle, and falls to `around` outside.
  local function map_of(x0, y0, x1, y1, around)
    local t = pelk.full({ 32, 32 }, around or 0)
    for y = y0, y1 do
      for x = x0, x1 do t[y + 1][x + 1]:fill_(1) end
    end
    return t
  end

  it("takes the best threshold over all maps", function()
    -- two maps with shoulders: at low thresholds the shoulder is in, which is right for the second only
    local a, b = map_of(4, 4, 11, 11), map_of(4, 4, 11, 11)
    for y = 4, 27 do
      for x = 4, 27 do
        for _, t in ipairs { a, b } do
          if x > 11 or y > 11 then t[y + 1][x + 1]:fill_(0.4) end
        end
      end
    end
    local small, large = { { 4, 4, 12, 12 } }, { { 4, 4, 28, 28 } }
    local r = viz.max_box_acc({ a, b, b }, { small, large, large }, { size = 32 })
    assert.near(200 / 3, r.v1, 1e-9)
    assert.equal(0, r.threshold)
    r = viz.max_box_acc({ a, a, b }, { small, small, large }, { size = 32 })
    assert.near(200 / 3, r.v1, 1e-9)
    assert.near(0.4, r.threshold, 0.002)
    assert.near(100, viz.max_box_acc({ a, b }, { small, small }, { size = 32 }).v1, 1e-9)
  end)

  it("scales boxes from their picture, counts V2 at three overlaps", function()
    local t = map_of(8, 8, 15, 15)
    -- found {8,8,16,16}: 81; known from a picture of 64 x 64: {16,16,50,32} -> {8,8,25,16}: 162; IoU 0.5
    local r = viz.max_box_acc({ t }, { { { 16, 16, 50, 32 }, width = 64, height = 64 } }, { size = 32 })
    assert.equal(100, r.v1)
    assert.same({ [30] = 100, [50] = 100, [70] = 0 }, r.at)
    assert.near(200 / 3, r.v2, 1e-9)
    assert.truthy(tostring(r):find("MaxBoxAcc 100.00 %%"))
  end)

  it("V2 looks at all parts", function()
    local t = map_of(2, 2, 20, 20)
    for y = 24, 29 do
      for x = 24, 29 do t[y + 1][x + 1]:fill_(1) end
    end
    local r = viz.max_box_acc({ t }, { { { 24, 24, 30, 30 } } }, { size = 32 })
    assert.equal(0, r.v1)
    assert.near(100, r.v2, 1e-9)
  end)

  it("refuses nonsense", function()
    raises("as many maps", viz.max_box_acc, { pelk.ones { 2, 2 } }, {})
    raises("has no box", viz.max_box_acc, { pelk.ones { 2, 2 } }, { {} })
    raises("is no box", viz.max_box_acc, { pelk.ones { 2, 2 } }, { { { 5, 5, 1, 1 } } })
    raises("a box is", viz.max_box_acc, { pelk.ones { 2, 2 } }, { { { 5, 5 } } })
  end)

  it("reads metadata as WSOL's data sets have it", function()
    help.write(dir .. "/class_labels.txt", "a/x, 1.jpg,0\nb/y.jpg,6\r\n")
    help.write(dir .. "/image_sizes.txt", "a/x, 1.jpg,500,375\nb/y.jpg,10,20\n")
    help.write(dir .. "/localization.txt", "a/x, 1.jpg,60.0,27,300,250\nb/y.jpg,0,0,5,5\nb/y.jpg,1,1,9,19\n")
    local list = localize.read_metadata(dir)
    assert.equal(2, #list)
    assert.equal("a/x, 1.jpg", list[1].path)
    assert.equal(1, list[1].label)
    assert.equal(7, list[2].label)
    assert.same({ { 0, 0, 5, 5 }, { 1, 1, 9, 19 }, width = 10, height = 20 }, list[2].boxes)
    help.write(dir .. "/localization.txt", "a/x, 1.jpg,60,27,300\n")
    refuses("localization.txt:1: wants a path and 4 numbers", localize.read_metadata(dir))
    help.write(dir .. "/localization.txt", "c.jpg,60,27,300,250\n")
    refuses("'c.jpg' has no class", localize.read_metadata(dir))
    help.write(dir .. "/localization.txt", "a/x, 1.jpg,60,27,300,250\n")
    refuses("'b/y.jpg' has no box", localize.read_metadata(dir))
    refuses("No such file", localize.read_metadata(dir .. "/none"))
  end)
end)

-- A classifier whose map is its input: two channels, averaged, then {2,3} weights.
local function toy()
  local m = nn.Sequential(nn.Lambda(function(x) return x * 1 end), nn.Lambda(function(x) return x:mean(3):mean(2) end),
    nn.Linear { in_features = 2, out_features = 3 })
  core.no_grad(function() m[3].weight:copy_(pelk.tensor { { 1, 0 }, { 0, 1 }, { 1, -1 } }) end)
  return m
end

describe("activation maps", function()
  local quiet = { progress = false }
  local function with(more)
    for key, value in pairs(quiet) do more[key] = value end
    return more
  end
  local picture = pelk.tensor({ 4, 0, 2, 1, 0, 1, 0, 2 }, { 2, 2, 2 }) -- channels 4 2 0 0 and 0 1 1 2

  it("by class weights", function()
    local r = viz.cam(toy(), picture, with { class = 3 })[1]
    assert.is_true(r.map:allclose(pelk.tensor { { 1, 0.25 }, { 0, 0 } })) -- relu(4 1 -1 -2) / 4
    assert.equal(3, r.class)
    assert.near(0.5, r.logit, 1e-6)
    r = viz.cam(toy(), picture, quiet)[1]
    assert.equal(1, r.class) -- means 1.5 and 1: logits 1.5, 1, 0.5
    assert.is_true(r.map:allclose(pelk.tensor { { 1, 0.5 }, { 0, 0 } }))
  end)

  it("by gradients: with average pooling the same, by Selvaraju's section 3", function()
    local a = viz.cam(toy(), picture, with { class = 3 })[1]
    local b = viz.cam(toy(), picture, with { class = 3, method = "gradcam" })[1]
    assert.is_true(a.map:allclose(b.map))
    assert.near(a.logit, b.logit, 1e-6)
    -- a head that squares: weights 2 mean / 4
    local m = nn.Sequential(nn.Lambda(function(x) return x * 1 end),
      nn.Lambda(function(x) local y = x:mean(3):mean(2) return y * y end))
    local r = viz.cam(m, picture, with { class = 1, method = "gradcam" })[1]
    assert.is_true(r.map:allclose(pelk.tensor { { 1, 0.5 }, { 0, 0 } }))
  end)

  it("by the first component, turned round where the border is foreground", function()
    pelk.manual_seed(2)
    -- 30 channels that share a bright centre, with noise
    local x = pelk.randn { 7, 7, 30 } * 0.02
    local shared = pelk.randn { 30 }:abs() + 0.5
    for y = 3, 5 do
      for c = 3, 5 do x[y][c]:copy_(x[y][c] + shared) end
    end
    local m = nn.Sequential(nn.Lambda(function(t) return t * 1 end),
      nn.Lambda(function(t) return t:mean(3):mean(2) end),
      nn.Linear { in_features = 30, out_features = 2 })
    core.no_grad(function() m[3].weight:copy_(pelk.randn { 2, 30 }) end) -- signs of all kinds
    local r = viz.cam(m, x, with { class = 2, method = "pc1" })[1]
    local inside, outside = math.huge, -math.huge
    for y = 1, 7 do
      for c = 1, 7 do
        local v = r.map[y][c]:item()
        if y >= 3 and y <= 5 and c >= 3 and c <= 5 then
          inside = math.min(inside, v)
        else
          outside = math.max(outside, v)
        end
      end
    end
    assert.truthy(inside > outside + 0.5, ("%g against %g"):format(inside, outside))
    assert.truthy(r.explained > 0.8)
    assert.same({ { 2, 2, 4, 4 } }, r:boxes { threshold = 0.7 })
  end)

  it("of models, any stage, as pictures", function()
    pelk.manual_seed(1)
    local m = pelk.models.create("pelk_nano")
    local set = pelk.data.tensors(pelk.zeros({ 3, 28, 28, 1 }, { dtype = "uint8" }):copy_(core.randint(0, 255,
      { 3, 28, 28, 1 })), pelk.tensor({ 2, 5, 9 }, { 3 }, { dtype = "int32" }))
    for _, method in ipairs { "cam", "gradcam", "pc1" } do
      local list = viz.cam(m, set, with { method = method, class = "label", limit = 2 })
      assert.equal(2, #list)
      assert.equal(5, list[2].class)
      assert.same({ 3, 3 }, list[1].map:shape())
      local p = list[1]:overlay { boxes = { { 2, 3, 20, 21 } } }
      assert.same({ 28, 28, 3 }, p:shape())
      assert.same({ 255, 255, 255 }, p[4][3]:flat())
      assert.is_true(list[1]:save_png(dir .. "/cam.png", { alpha = 0.4 }))
      p = list[1]:overlay { scale = 3, known = { { 2, 3, 20, 21 } } } -- from 3 x 2 to 3 x 21 - 1
      assert.same({ 84, 84, 3 }, p:shape())
      assert.same({ 64, 208, 96 }, p[10][7]:flat())
      assert.same({ 64, 208, 96 }, p[66][63]:flat())
      assert.are_not.same({ 64, 208, 96 }, p[67][64]:flat())
    end
    assert.same({ 14, 14 }, viz.cam(m, set, with { method = "gradcam", stage = 1, limit = 1 })[1].map:shape())
    assert.is_true(m.training)
    for _, p in ipairs(m:parameters()) do assert.is_nil(p.grad) end
  end)

  it("of a RepLKNet, whose norm and transitions stand apart", function()
    pelk.manual_seed(1)
    local m = pelk.models.create("replknet_31b", { depths = { 1, 1, 1 }, dims = { 8, 16, 24 }, kernels = { 7, 7, 5 },
      num_classes = 3 })
    local x = pelk.randn { 1, 64, 64, 3 }
    m:eval()
    local wanted = pelk.no_grad(function() return m(x):argmax(2):item() end)
    for _, method in ipairs { "cam", "gradcam", "pc1" } do
      local found = viz.cam(m, x, with { method = method })[1]
      assert.equal(wanted, found.class)
      assert.same({ 4, 4 }, found.map:shape())
    end
    assert.same({ 16, 16 }, viz.cam(m, x, with { method = "gradcam", stage = 1 })[1].map:shape())
  end)

  it("end where a loader does, which leaves out what is broken", function()
    local m = pelk.models.create("pelk_nano")
    local ds = pelk.data.tensors(pelk.rand { 5, 28, 28, 1 }, pelk.ones({ 5 }, { dtype = "int32" }))
    local loader = pelk.data.loader(ds, { batch = 2 })
    loader.size = function() return 9 end -- more than come
    assert.equal(5, #viz.cam(m, loader, with { method = "gradcam" }))
    assert.equal(5, viz.erf(m, loader, { progress = false, limit = 9 }).n)
  end)

  it("refuse nonsense", function()
    local m = pelk.models.create("pelk_nano")
    local x = pelk.zeros { 1, 28, 28, 1 }
    raises("did you mean 'gradcam'", viz.cam, m, x, with { method = "grad_cam" })
    raises("class 11 is not in 1..10", viz.cam, m, x, with { class = 11 })
    raises("the pictures have none", viz.cam, m, x, with { class = "label" })
    raises("class is a number", viz.cam, m, x, with { class = "all" })
    raises("the map has 32 channels, the classifier head.fc reads 128", viz.cam, m, x, with { stage = 1 })
    raises("stage 4 is not in 1..3", viz.cam, m, x, with { stage = 4 })
    raises("border must be", viz.cam, m, x, with { border = "all" })
    raises("wants an nn.Model or a Sequential", viz.cam, nn.Linear { in_features = 2, out_features = 2 }, x, quiet)
  end)
end)

describe("pictures in folders", function()
  local quiet = { progress = false }

  -- Two classes: a bright square above, or below; the model's map is its input.
  local function prepare()
    assert(core.make_dir(dir .. "/set/deep"))
    local labels, sizes, boxes = {}, {}, {}
    for i = 1, 4 do
      local t = pelk.zeros { 40, 60, 3 }
      local top = i % 2 == 0 and 4 or 24
      t:narrow(1, top + 1, 12):narrow(2, 11, 20):fill_(255)
      local path = i > 2 and ("deep/%d.png"):format(i) or i .. ".png"
      assert(viz.save_png(pelk.zeros({ 40, 60, 3 }, { dtype = "uint8" }):copy_(t), dir .. "/set/" .. path))
      labels[i], sizes[i] = path .. "," .. i % 2, path .. ",60,40"
      boxes[i] = ("%s,10,%d,30,%d"):format(path, top, top + 12)
    end
    for name, lines in pairs { class_labels = labels, image_sizes = sizes, localization = boxes } do
      help.write(("%s/%s.txt"):format(dir, name), table.concat(lines, "\n") .. "\n")
    end
    local m = nn.Sequential(nn.Lambda(function(x) return x * 1 end),
      nn.Lambda(function(x) return x:mean(3):mean(2) end), nn.Linear { in_features = 3, out_features = 2 })
    core.no_grad(function() m[3].weight:fill_(1) end)
    return m
  end

  it("are localised", function()
    local m = prepare()
    local r = assert(viz.localize(m, dir .. "/set", dir, { progress = false, mean = { 0, 0, 0 }, std = { 1, 1, 1 },
      size = { 40, 60 } }))
    assert.equal(4, r.n)
    assert.equal(100, r.v1)
    assert.equal(100, r.at[70])
    assert.equal("cam", r.method)
    raises("each picture's own", viz.localize, m, dir .. "/set", dir, { class = 1 })
    refuses("No such file", viz.localize(m, dir .. "/none", dir, quiet))
    refuses("No such file", viz.localize(m, dir .. "/set", dir .. "/none", quiet))
  end)

  it("are looked at one by one, in folders below too", function()
    local m = prepare()
    local list = assert(viz.cam(m, dir .. "/set", { progress = false, class = 1, size = 32 }))
    assert.equal(4, #list)
    assert.same({ 32, 32 }, list[1].map:shape())
    local r = assert(viz.erf(m[1], dir .. "/set", { progress = false, size = 24, mean = { -1, -1, -1 },
      std = { 1, 1, 1 } }))
    assert.equal(4, r.n)
    assert.near(3, r.map[13][13]:item(), 1e-5) -- three colours
    assert.near(3, r.map:sum():item(), 1e-5)
    refuses("No such file", viz.erf(m, dir .. "/none", quiet))
    assert(core.make_dir(dir .. "/bare"))
    refuses("no %.jpg", viz.erf(m, dir .. "/bare", quiet))
    help.write(dir .. "/bare/broken.png", "no picture")
    refuses("broken.png", viz.erf(m, dir .. "/bare", quiet))
    refuses("broken.png", viz.cam(m, dir .. "/bare", quiet))
    raises("wants root, or a list", pelk.data.pictures, {})
    raises("1 paths, 2 labels", pelk.data.pictures, { paths = { "a.png" }, labels = { 1, 2 } })
  end)
end)
