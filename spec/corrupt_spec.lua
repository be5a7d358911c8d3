-- Corruptions: the numbers of ImageNet-C, by hand and against Pillow.

local pelk = require "pelk"
local core = require "pelk.core"
local data = pelk.data

local help = require "spec.help"
local raises = help.raises
local dir

setup(function() dir = help.folder() end)
teardown(function() help.remove(dir) end)

local function to_bytes(t) return pelk.zeros(t:shape(), { dtype = "uint8" }):copy_(t) end

-- Something like a photograph: smooth colours, edges, some noise.
local function photograph(h, w, c)
  local t = pelk.zeros { h, w, c }
  for k = 1, c do
    local smooth = core.map_normalize(core.map_resize(pelk.randn { 5, 6 }, h, w)) * 200
    local patches = core.map_resize(pelk.rand { 4, 4 }, h, w):gt(0.5) * 30
    t:select(3, k):copy_(smooth + patches + pelk.rand { h, w } * 12)
  end
  return to_bytes(t)
end

local function corrupt(picture, kind, severity, seed)
  local loader = data.loader(data.tensors(picture:unsqueeze(1)), { batch = 1, seed = seed or 0,
    transforms = { data.transforms.corrupt { kind = kind, severity = severity } } })
  local x = loader:epoch(0)()
  return pelk.zeros(x[1]:shape()):copy_(x[1])
end

local function mean(t) return t:mean():item() end

describe("corrupt", function()
  it("leaves pictures without pixels as they are", function()
    for _, shape in ipairs({ { 0, 32, 3 }, { 16, 0, 64 } }) do
      local h, w, c = table.unpack(shape)
      local ds = data.tensors(pelk.zeros({ 2, h, w, c }, { dtype = "uint8" }))
      for x in data.loader(ds, { batch = 2, transforms = { data.transforms.corrupt { kind = "pixelate" } } })() do
        assert.same({ 2, h, w, c }, x:shape())
      end
    end
  end)

  it("adds noise of the deviation that ImageNet-C says, drawn by seed", function()
    local wanted = { [32] = { 0.04, 0.06, 0.08 }, [128] = { 0.06, 0.09, 0.13 }, [224] = { 0.08, 0.12, 0.18 } }
    for side, deviations in pairs(wanted) do
      for severity, deviation in ipairs(deviations) do
        local noise = corrupt(to_bytes(pelk.full({ side, side, 1 }, 128)), "gaussian_noise", severity) - 128
        local measured = math.sqrt(mean(noise * noise)) / 255
        assert.near(deviation, measured, 0.06 * deviation)
        assert.near(0, mean(noise), 1.5)
      end
    end
    local grey = to_bytes(pelk.full({ 224, 224, 1 }, 128))
    local a, b = corrupt(grey, "gaussian_noise", 2, 7), corrupt(grey, "gaussian_noise", 2, 7)
    assert.is_true(a:equal(b))
    assert.is_false(a:equal(corrupt(grey, "gaussian_noise", 2, 8)))
    local strong = corrupt(grey, "gaussian_noise", 5)
    assert.equal(0, strong:min():item())
    assert.equal(255, strong:max():item())
    assert.is_true(strong:equal(pelk.zeros(strong:shape()):copy_(to_bytes(strong)))) -- whole numbers
  end)

  it("lowers contrast towards the mean of each channel", function()
    local t = pelk.zeros { 2, 2, 2 }
    t:select(3, 1):copy_(pelk.tensor { { 0, 100 }, { 200, 100 } })
    t:select(3, 2):copy_(pelk.tensor { { 10, 10 }, { 10, 250 } })
    local r = corrupt(to_bytes(t), "contrast", 3) -- 0.4
    assert.same({ 60, 100, 140, 100 }, r:select(3, 1):contiguous():flat())
    assert.same({ 46, 46, 46, 142 }, r:select(3, 2):contiguous():flat())
    assert.same({ 85, 100, 115, 100 }, corrupt(to_bytes(t), "contrast", 5):select(3, 1):contiguous():flat())
  end)

  it("blurs by a Gaussian in proportion to the side", function()
    local t = pelk.zeros { 448, 448, 1 }
    t:narrow(2, 225, 224):fill_(255) -- an edge
    local r = corrupt(to_bytes(t), "gaussian_blur", 3)[224] -- deviation 3 at 224: 6 pixels
    local function phi(z) -- the normal distribution, by its series
      local sum, term = z, z
      for i = 1, 60 do
        term = -term * z * z / (2 * i)
        sum = sum + term / (2 * i + 1)
      end
      return 0.5 + sum / math.sqrt(2 * math.pi)
    end
    for _, at in ipairs { 213, 218, 222, 225, 229, 237 } do
      assert.near(255 * phi((at - 224.5) / 6), r[at][1]:item(), 1)
    end
    local flat = to_bytes(pelk.full({ 9, 7, 3 }, 77))
    assert.is_true(corrupt(flat, "gaussian_blur", 5):equal(pelk.full({ 9, 7, 3 }, 77)))
  end)

  it("makes coarse pixels as Pillow's box filter does", function()
    local t = to_bytes(pelk.arange(0, 4):reshape(1, 5, 1) * 10)
    -- severity 5 leaves 0.65: 3 of 5 pixels; cells from 0, 1.67, 3.33: pixels 0-1, 2, 3-4; centres in 1 1 2 3 3
    assert.same({ 5, 5, 20, 35, 35 }, corrupt(t, "pixelate", 5):flat())
  end)

  it("loses in JPEG what a constant block and a known one lose", function()
    local flat = to_bytes(pelk.full({ 16, 16, 1 }, 100))
    -- quality 50: first divisor 16; coefficient 8 (100 - 128) = -224 = -14 x 16: nothing lost
    assert.is_true(corrupt(flat, "jpeg", 4):equal(pelk.full({ 16, 16, 1 }, 100)))
    -- quality 40: scale 125, divisor (16 x 125 + 50) / 100 = 20: -224 / 20 -> -11 -> -220 / 8 = -27.5
    local r = corrupt(flat, "jpeg", 5)[1][1][1]:item()
    assert.truthy(r == 100 or r == 101)
    r = corrupt(to_bytes(pelk.full({ 16, 16, 1 }, 129)), "jpeg", 5)[1][1][1]:item()
    assert.equal(128, r) -- 8 / 20 -> 0
    raises("1 or 3 channels", corrupt, to_bytes(pelk.ones { 4, 4, 2 }), "jpeg", 1)
  end)

  it("is as Pillow's where Pillow is", function()
    local python = help.python("PIL, numpy")
    if not python then
      pending("python3-pil is not there to cross-check")
      return
    end
    pelk.manual_seed(21)
    for _, shape in ipairs { { 224, 225, 1 }, { 31, 41, 3 } } do
      local h, w, c = table.unpack(shape)
      local picture = photograph(h, w, c)
      help.write(dir .. "/in", string.char(table.unpack(picture:flat())))
      local pipe = io.popen(([[%s -c "
import io, numpy as np
from PIL import Image
x = np.fromfile('%s/in', np.uint8).reshape(%d, %d, %d)
image = Image.fromarray(x[:, :, 0] if x.shape[2] == 1 else x)
def show(i): print(*np.asarray(i).ravel())
for quality in (80, 65, 58, 50, 40) if min(x.shape[:2]) <= 32 else (25, 18, 15, 10, 7):
    f = io.BytesIO()
    image.save(f, 'JPEG', quality=quality)
    show(Image.open(f))
for left in (.95, .9, .85, .75, .65) if min(x.shape[:2]) <= 32 else (.6, .5, .4, .3, .25):
    show(image.resize((int(image.width * left), int(image.height * left)), Image.BOX).resize(image.size, Image.BOX))
"]]):format(python, dir, h, w, c))
      local kinds = { { "jpeg", 0.6 }, { "pixelate", 0.01 } } -- and the mean difference allowed, of 255
      for _, kind in ipairs(kinds) do
        for severity = 1, 5 do
          local theirs = {}
          for word in pipe:read("l"):gmatch("%d+") do theirs[#theirs + 1] = tonumber(word) end
          local t = pelk.tensor(theirs, shape)
          local ours = corrupt(picture, kind[1], severity)
          local off = mean((ours - t):abs())
          assert.truthy(off < kind[2], ("%s %d: %g"):format(kind[1], severity, off))
          -- and it is a corruption: farther from the picture than from Pillow's
          local plain = pelk.zeros(shape):copy_(picture)
          assert.truthy(mean((ours - plain):abs()) > 3 * off)
        end
      end
      pipe:close()
    end
  end)

  it("gets worse with severity, for every kind", function()
    pelk.manual_seed(3)
    local picture = photograph(56, 56, 3)
    local plain = pelk.zeros { 56, 56, 3 }:copy_(picture)
    for _, kind in ipairs { "gaussian_noise", "gaussian_blur", "jpeg", "contrast", "pixelate" } do
      local before = 0
      for severity = 1, 5 do
        local far = mean((corrupt(picture, kind, severity) - plain):abs())
        assert.truthy(far > before, ("%s %d: %g after %g"):format(kind, severity, far, before))
        before = far
      end
    end
    raises("wants one of gaussian_noise|.*'jpg'", function() return data.transforms.corrupt { kind = "jpg" } end)
    raises("severity", function() return data.transforms.corrupt { kind = "jpeg", severity = 6 } end)
    raises("kind", function() return data.transforms.corrupt {} end)
  end)
end)
