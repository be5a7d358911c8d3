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
