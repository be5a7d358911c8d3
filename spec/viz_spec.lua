-- Pictures: colours, tiles, grids, PNG files, learning curves.

local pelk = require "pelk"
local core = require "pelk.core"
local viz = require "pelk.viz"

local help = require "spec.help"
local read, raises, refuses = help.read, help.raises, help.refuses
local dir

setup(function()
  dir = help.folder()
end)

teardown(function() help.remove(dir) end)

-- Width, height and colour type of a PNG file.
local function png_size(path)
  local bytes = read(path)
  assert.equal("\137PNG\r\n\26\n", bytes:sub(1, 8))
  assert.equal("IEND", bytes:sub(-8, -5))
  local w, h, depth, color = string.unpack(">I4I4BB", bytes, 17)
  assert.equal(8, depth)
  return w, h, color
end

describe("pictures of tensors", function()
  it("span the map", function()
    local t = pelk.tensor { { 0, 1, 2 } }
    assert.same({ 0, 0, 0, 128, 128, 128, 255, 255, 255 }, core.picture(t):flat())
    assert.same({ 0, 0, 0, 255, 255, 255, 255, 255, 255 }, core.picture(t, { max = 1 }):flat())
    local warm = core.picture(pelk.tensor { { -1, 0, 3 } }, { colormap = "coolwarm", symmetric = true })
    assert.same({ 237, 234, 231 }, warm[1][2]:flat())
    assert.same({ 180, 4, 38 }, warm[1][3]:flat())
    assert.same({ 2, 6, 3 }, core.picture(t, { scale = 2 }):shape())
  end)

  it("show bytes and colours as they are", function()
    local bytes = pelk.tensor({ 0, 128, 255 }, { 1, 1, 3 }, { dtype = "uint8" })
    assert.same({ 0, 128, 255 }, core.picture(bytes):flat())
    assert.same({ 10, 10, 10 }, core.picture(pelk.tensor({ 10 }, { 1, 1 }, { dtype = "uint8" })):flat())
  end)

  it("survive constants, NaN and infinities", function()
    assert.same({ 128, 128, 128 }, core.picture(pelk.ones { 1, 1 }):flat())
    local odd = core.picture(pelk.tensor { { 0 / 0, -math.huge, math.huge, 0, 1 } })
    assert.same({ 255, 0, 255 }, odd[1][1]:flat())
    assert.same({ 0, 0, 0 }, odd[1][2]:flat())
    assert.same({ 255, 255, 255 }, odd[1][3]:flat())
  end)

  it("refuse other shapes and nonsense", function()
    raises("wants float32 or uint8", core.picture, pelk.ones { 2, 2, 2 })
    raises("wants float32 or uint8", core.picture, pelk.ones { 2 })
    raises("wants float32 or uint8", core.picture, pelk.zeros { 0, 2 })
    raises("colormap wants one of", core.picture, pelk.ones { 2, 2 }, { colormap = "jet" })
    raises("at most", core.picture, pelk.ones { 1000, 1000 }, { scale = 100 })
  end)

  it("of many planes are tiles", function()
    assert.same({ 3 * (5 + 4) + 4, 2 * (3 + 4) + 4, 3 }, core.picture_tiles(pelk.ones { 5, 3, 6 },
      { columns = 2, scale = 1 }):shape())
  end)
end)

describe("PNG files", function()
  it("have the right size and kind", function()
    assert.is_true(viz.save_png(core.randn { 20, 30 }, dir .. "/a.png", { colormap = "viridis", scale = 3 }))
    assert.same({ 90, 60, 2 }, { png_size(dir .. "/a.png") })
    assert.is_true(core.write_png(pelk.zeros { 4, 5, dtype = "uint8" }, dir .. "/gray.png"))
    assert.same({ 5, 4, 0 }, { png_size(dir .. "/gray.png") })
  end)

  it("hold the pixels, as another program sees them", function()
    if not os.execute("python3 -c 'import zlib' >/dev/null 2>&1") then
      pending("python3 is not there to cross-check")
      return
    end
    local pixels = pelk.tensor({ 1, 2, 3, 250, 5, 6, 7, 8, 9, 10, 0, 255 }, { 2, 2, 3 }, { dtype = "uint8" })
    core.write_png(pixels, dir .. "/b.png")
    local script = io.open(dir .. "/png.py", "w")
    script:write([[
import struct, sys, zlib
b = open(sys.argv[1], "rb").read()
at, data, w, h = 8, b"", 0, 0
while at < len(b):
    n, kind = struct.unpack(">I4s", b[at:at + 8])
    body = b[at + 8:at + 8 + n]
    assert zlib.crc32(kind + body) == struct.unpack(">I", b[at + 8 + n:at + 12 + n])[0]
    if kind == b"IHDR": w, h = struct.unpack(">II", body[:8])
    if kind == b"IDAT": data += body
    at += 12 + n
raw, out, prior = zlib.decompress(data), [], bytes(3 * w)
for y in range(h):
    f, line = raw[y * (3 * w + 1)], bytearray(raw[y * (3 * w + 1) + 1:(y + 1) * (3 * w + 1)])
    for i in range(3 * w):
        a, u, c = (line[i - 3] if i >= 3 else 0), prior[i], (prior[i - 3] if i >= 3 else 0)
        p = a + u - c
        paeth = min((abs(p - a), 0, a), (abs(p - u), 1, u), (abs(p - c), 2, c))[2]
        line[i] = (line[i] + (0, a, u, (a + u) // 2, paeth)[f]) % 256
    out += list(line)
    prior = bytes(line)
print(*out)
]])
    script:close()
    local pipe = io.popen(("python3 '%s/png.py' '%s/b.png' 2>&1"):format(dir, dir))
    assert.equal("1 2 3 250 5 6 7 8 9 10 0 255\n", pipe:read("a"))
    pipe:close()
  end)

  it("are refused where they cannot be", function()
    refuses("No such file", viz.save_png(pelk.ones { 2, 2 }, dir .. "/no/where.png"))
    refuses("is a directory", viz.save_png(pelk.ones { 2, 2 }, dir))
    raises("not a path", viz.save_png, pelk.ones { 2, 2 }, "")
    raises("wants uint8", core.write_png, pelk.ones { 2, 2 }, dir .. "/x.png")
  end)
end)

describe("grids", function()
  it("are drawn, one or several", function()
    assert.is_true(viz.grid(51, dir .. "/g.png"))
    assert.is_true(viz.grid({ 3, 1, 1, 1, 3 }, dir .. "/g.png", { captions = { "A grid" } }))
    assert.is_true(viz.grid({ pelk.grid(13), pelk.grid(51), pelk.grid(101, { radius = 3 }) }, dir .. "/g.png"))
    local w, h = png_size(dir .. "/g.png")
    assert.truthy(w > 3 * 490 and h > 500)
  end)

  it("have a bright centre and darker rings", function()
    local t = core.picture_grids({ pelk.grid(13) }, nil, 260) -- 20 pixels a tap
    local function brightness(tap_y, tap_x)
      local sum = 0
      for _, v in ipairs(t[24 + tap_y * 20 + 11][24 + tap_x * 20 + 11]:flat()) do sum = sum + v end
      return sum
    end
    assert.truthy(brightness(6, 6) > brightness(6, 8))
    assert.truthy(brightness(6, 8) > brightness(6, 12))
    assert.equal(brightness(0, 0), brightness(12, 12))
    assert.equal(brightness(0, 6), brightness(6, 0))
  end)

  it("refuse nonsense", function()
    raises("wants a kernel size", viz.grid, "x", dir .. "/x.png")
    raises("band 2 must be", viz.grid, { 1, 0, 1 }, dir .. "/x.png")
    raises("did you mean 'radius'", viz.grid, 51, dir .. "/x.png", { radios = 3 })
    raises("at most 4096", viz.grid, { 8191 }, dir .. "/x.png")
  end)
end)

describe("kernels", function()
  it("are drawn from weights and from models", function()
    assert.is_true(viz.kernels(core.randn { 7, 7, 10 }, dir .. "/k.png"))
    assert.is_true(viz.kernels(core.randn { 9, 9, 100 }, dir .. "/k.png", { kernel = 13, scale = 2, columns = 8 }))
    assert.same({ 8 * (13 * 2 + 4) + 4, 8 * (13 * 2 + 4) + 4, 2 }, { png_size(dir .. "/k.png") })
    local m = core.nn.PeripheralConv { channels = 3, kernel = 13 }
    assert.is_true(viz.kernels(m, dir .. "/k.png", { scale = 1, columns = 3 }))
    assert.same({ 3 * (13 + 4) + 4, 13 + 8, 2 }, { png_size(dir .. "/k.png") })
    local linear = core.nn.Linear { in_features = 2, out_features = 2 }
    raises("no peripheral or depthwise", viz.kernels, linear, dir .. "/x.png")
    raises("no peripheral or depthwise convolution 'x'", viz.kernels, m, dir .. "/x.png", { layer = "x" })
  end)
end)

describe("learning curves", function()
  local rows = {}
  for i = 1, 5 do
    rows[i] = { epoch = i, train_loss = 2 / i, eval_loss = 2.1 / i, train_top1 = 60 + i, eval_top1 = 59 + i }
  end
  local gnuplot = os.execute("command -v gnuplot >/dev/null 2>&1")

  it("come from a history or a file", function()
    if not gnuplot then
      refuses("apt%-get install gnuplot%-nox", viz.curves(rows, dir .. "/c.png"))
      pending("gnuplot is not installed")
      return
    end
    assert.is_true(viz.curves(rows, dir .. "/it's a $(touch x) picture.png", { title = "it's \"quoted\" `x`" }))
    assert.same({ 1200, 500, 2 }, { png_size(dir .. "/it's a $(touch x) picture.png") })
    local file = io.open(dir .. "/summary.csv", "w")
    file:write("epoch,train_loss,eval_loss,eval_top1\r\n1,2.5,nan,50\r\n2,1.5,2,\r\n3,1,1.5,70\r\n")
    file:close()
    assert.is_true(viz.curves(dir .. "/summary.csv", dir .. "/d.png", { width = 800, height = 300 }))
    assert.same({ 800, 300, 2 }, { png_size(dir .. "/d.png") })
    refuses("no curves", viz.curves({ { epoch = 1 } }, dir .. "/x.png"))
    refuses("No such file", viz.curves(rows, dir .. "/no/x.png"))
  end)

  it("refuse nonsense", function()
    refuses("No such file", viz.curves(dir .. "/none.csv", dir .. "/x.png"))
    raises("wants a history", viz.curves, 3, dir .. "/x.png")
    raises("row 1 of the history", viz.curves, { 1 }, dir .. "/x.png")
    raises("path of the picture", viz.curves, rows)
  end)
end)

describe("kernels in all forms", function()
  it("expanded, shared, as masks, as magnitudes", function()
    local m = core.nn.PeripheralConv { channels = 3, kernel = 13 } -- 9 x 9 weights
    core.no_grad(function() m.weight[1][1]:fill_(0) end)
    assert.is_true(viz.kernels(m, dir .. "/k.png", { form = "shared", scale = 2, columns = 3 }))
    assert.same({ 3 * (9 * 2 + 4) + 4, 9 * 2 + 8, 2 }, { png_size(dir .. "/k.png") })
    assert.is_true(viz.kernels(m, dir .. "/k.png", { form = "mask", scale = 1, columns = 3 }))
    assert.same({ 3 * (13 + 4) + 4, 13 + 8, 2 }, { png_size(dir .. "/k.png") })
    assert.is_true(viz.kernels(m, dir .. "/k.png", { form = "magnitude", scale = 4, title = "|w|" }))
    raises("form must be", viz.kernels, m, dir .. "/k.png", { form = "round" })
  end)

  it("position maps", function()
    local m = pelk.models.create("pelk_nano")
    assert.is_true(viz.position(m, dir .. "/p.png"))
    assert.is_true(viz.position(m, dir .. "/p.png", { layer = "stages.2" }))
    assert.is_true(viz.position(core.randn { 5, 5, 4 }, dir .. "/p.png", { scale = 1, columns = 2 }))
    assert.same({ 2 * 9 + 4, 2 * 9 + 4, 2 }, { png_size(dir .. "/p.png") })
    raises("no position map in 'stages.7'", viz.position, m, dir .. "/x.png", { layer = "stages.7" })
    raises("has no position map", viz.position, core.nn.Linear { in_features = 1, out_features = 1 }, dir .. "/x.png")
  end)

  it("weight against eccentricity, beside acuity", function()
    local w = core.zeros { 5, 5, 2 }
    w:fill_(1)
    w[3][3]:fill_(-4)
    local r = viz.radial(w)
    assert.same({ 0, 1, 2 }, r.eccentricity) -- distance 1 holds sqrt(2), rounded
    assert.same({ 4, 1, 1 }, r.magnitude)
    assert.near(1, r.acuity[1], 1e-12)
    assert.near(2.3 / 32.3, r.acuity[3], 1e-12)
    r = viz.radial(core.ones { 13, 13, 1 }, nil, { kernel = 51 })
    assert.near(25 / 2601, r.fine_area, 1e-12)
    assert.near(25 / 169, r.fine_weights, 1e-12)
    assert.equal(26, #r.eccentricity)
  end)

  it("weights against size: the paper's figure 2", function()
    local g = viz.growth(nil, { kernels = { 7, 51 } })
    assert.near(53.1, g.dense[2] / g.dense[1], 0.05)
    assert.near(7.3, g.stripe[2] / g.stripe[1], 0.05)
    assert.same({ 49, 169 }, g.peripheral)
    assert.same({ 49, 169 }, g.macs.peripheral)
  end)

  it("parameters and multiply-adds of a network against size: the paper's figure 6", function()
    local g = viz.growth(nil, { kernels = { 7, 51, 101 }, model = "convnext_tiny" })
    for i, millions in ipairs { 28.6, 45.5, 95.8 } do assert.near(millions, g.dense[i], 0.05) end
    for i, millions in ipairs { 28.59, 29.38, 29.75 } do assert.near(millions, g.peripheral[i], 0.005) end
    assert.near(4.44, g.macs.dense[1], 0.005)
    assert.truthy(g.macs.dense[3] > 1.7 * g.macs.dense[1])
    assert.truthy(g.macs.peripheral[3] < 1.05 * g.macs.peripheral[1])
    assert.truthy(tostring(g):find("M params, dense"))
  end)

  it("the fine centre's share of the area: the paper's Table 6", function()
    for radius, percent in pairs { [0] = "0.04", "0.35", "0.96", "1.88" } do
      local side = #pelk.grid(51, { radius = radius })
      local r = viz.radial(pelk.ones { side, side, 1 }, nil, { kernel = 51, radius = radius })
      assert.equal(percent, ("%.2f"):format(100 * r.fine_area))
    end
    -- the outermost ring of 69 is cut to one tap: it is not part of the centre
    local r = viz.radial(pelk.ones { 17, 17, 1 }, nil, { kernel = 69, radius = 3 })
    assert.near(49 / 69 ^ 2, r.fine_area, 1e-12)
  end)

  it("time by class of module adds up", function()
    local list = viz.time_share(pelk.models.create("pelk_nano"), core.zeros { 2, 28, 28, 1 })
    local share = 0
    for _, row in ipairs(list) do share = share + row.share end
    assert.near(1, share, 1e-9)
    assert.truthy(tostring(list):find("PeripheralConv"))
  end)
end)

describe("charts", function()
  it("of lines, points with labels, bars", function()
    local series = { { x = { 1, 10, 100 }, y = { 3, 0 / 0, 2 }, title = "it's", labels = { "a", "b", 'c"d' },
      style = "points" }, { x = { 1, 2 }, y = { 1, 2 }, style = "lines" } }
    local ok, message = viz.plot(series, dir .. "/plot.png", { logx = true, title = "t", width = 640, height = 400 })
    if message and message:find("gnuplot is not installed") then
      pending("gnuplot is not installed")
      return
    end
    assert.is_true(ok, message)
    assert.same({ 640, 400, 2 }, { png_size(dir .. "/plot.png") })
    assert.is_true(viz.plot({ { x = { 1, 2 }, y = { 5, 3 }, labels = { "x y", "it's" }, style = "bars" } },
      dir .. "/plot.png"))
    refuses("nothing to plot", viz.plot({ { x = { -1 }, y = { 1 } } }, dir .. "/plot.png", { logx = true }))
    assert.is_table(viz.growth(dir .. "/growth.png"))
    assert.is_table(viz.radial(core.ones { 9, 9, 1 }, dir .. "/radial.png", { kernel = 13 }))
    assert.is_table(viz.time_share(core.nn.Linear { in_features = 2, out_features = 2 }, core.zeros { 1, 2 },
      dir .. "/time.png"))
    raises("style must be one of", viz.plot, { { x = { 1 }, y = { 1 }, style = "pie" } }, dir .. "/x.png")
    raises("has 1 x and 2 y", viz.plot, { { x = { 1 }, y = { 1, 2 } } }, dir .. "/x.png")
    raises("wants a list of series", viz.plot, {}, dir .. "/x.png")
  end)
end)

describe("pictures in a terminal", function()
  it("are half blocks in 24-bit colours", function()
    local t = pelk.tensor({ 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 1, 2, 3, 4, 5, 6 }, { 3, 2, 3 },
      { dtype = "uint8" })
    local text = viz.show(t, { file = false })
    local top = "\27[38;2;255;0;0m\27[48;2;0;0;255m▀\27[38;2;0;255;0m\27[48;2;9;9;9m▀\27[0m\n"
    assert.equal(top .. "\27[38;2;1;2;3m\27[49m▀\27[38;2;4;5;6m\27[49m▀\27[0m\n", text)
  end)

  it("are shrunk by means to the width given", function()
    local t = pelk.tensor { { 0, 1, 0, 1 }, { 1, 0, 1, 0 }, { 0, 0, 1, 1 }, { 0, 0, 1, 1 } }
    local text = viz.show(t, { columns = 2, file = false, colormap = "gray" })
    assert.equal("\27[38;2;128;128;128m\27[48;2;0;0;0m▀\27[38;2;128;128;128m\27[48;2;255;255;255m▀\27[0m\n", text)
    raises("colormap wants one of", viz.show, t, { colormap = "jet" })
  end)
end)

describe("colour maps", function()
  -- CIE lightness of a colour.
  local function lightness(rgb)
    local function linear(v)
      v = v / 255
      return v <= 0.04045 and v / 12.92 or ((v + 0.055) / 1.055) ^ 2.4
    end
    local y = 0.2126 * linear(rgb[1]) + 0.7152 * linear(rgb[2]) + 0.0722 * linear(rgb[3])
    return y > 216 / 24389 and 116 * y ^ (1 / 3) - 16 or y * 24389 / 27
  end

  it("grow lighter evenly", function()
    for _, map in ipairs { "viridis", "magma" } do
      local pixels = core.picture(pelk.arange(0, 32):reshape(1, 33), { colormap = map })
      local first, last = lightness(pixels[1][1]:flat()), lightness(pixels[1][33]:flat())
      for i = 0, 32 do
        local wanted = first + (last - first) * i / 32
        assert.near(wanted, lightness(pixels[1][i + 1]:flat()), 6, map .. " " .. i)
      end
    end
  end)
end)

describe("pictures from pictures", function()
  it("are blended, outlined, put on sheets", function()
    local a, b = pelk.zeros({ 4, 6, 3 }, { dtype = "uint8" }), pelk.full({ 4, 6, 3 }, 200)
    b = pelk.zeros({ 4, 6, 3 }, { dtype = "uint8" }):copy_(b)
    assert.same({ 50, 50, 50 }, core.picture_blend(a, b, 0.25)[1][1]:flat())
    core.picture_outline(a, { 1, 0, 4, 9 }, 0x010203, 1)
    assert.same({ 1, 2, 3 }, a[1][2]:flat())
    assert.same({ 0, 0, 0 }, a[1][1]:flat())
    assert.same({ 1, 2, 3 }, a[4][5]:flat()) -- cut off below: its sides go down to the edge
    assert.same({ 0, 0, 0 }, a[4][4]:flat())
    local sheet = core.picture_sheet({ a, b, b }, { "A", nil, "C" }, 2)
    assert.same({ 12 + (4 + 22) + 12 + (4 + 22) + 12, 12 + 12 + 12 + 6 + 12, 3 }, sheet:shape())
    assert.same({ 200, 200, 200 }, sheet[13][12 + 12 + 13]:flat())
    assert.is_true(viz.sheet({ a, pelk.rand { 2, 3 }, pelk.rand { 2, 3 } }, dir .. "/sheet.png", { scale = 2 }))
    assert.same({ 12 + 12 + 12 + 6 + 12, 12 + 8 + 12 + 4 + 12, 2 }, { png_size(dir .. "/sheet.png") })
    raises("wants a list of pictures", viz.sheet, {}, dir .. "/sheet.png")
    raises("did you mean 'captions'", viz.sheet, { a }, dir .. "/sheet.png", { caption = {} })
    raises("different sizes", core.picture_blend, a, core.picture(pelk.ones { 2, 2 }), 0.5)
    raises("alpha must be", core.picture_blend, a, b, 2)
    raises("is no rectangle", core.picture_outline, a, { 3, 0, 1, 1 }, 0)
    raises("a box is", core.picture_outline, a, { 3, 0, 1 }, 0)
    raises("picture 2 must be a pelk.Tensor, got 3", core.picture_sheet, { a, 3 }, nil, 2)
    raises("1 to 4096 pictures", core.picture_sheet, {}, nil, 2)
  end)
end)
