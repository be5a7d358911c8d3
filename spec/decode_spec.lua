-- Decoding no more of a picture than is wanted, segments of JPEG files by the ten thousand, loops that a signal ends.
local pelk = require "pelk"
local core = require "pelk.core"
local data = require "pelk.data"
local help = require "spec.help"

local T = data.transforms
local dir, python

-- JPEG of 900 x 1200, a smooth spectrum and edges, of two chroma samplings, progressive, turned; Pillow makes them.
local script = [[
import sys
import numpy as np
from PIL import Image
rng = np.random.default_rng(5)
h, w = 900, 1200
fy, fx = np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None]
fall = 1 / np.maximum(np.hypot(fy, fx), 1 / 600) ** 1.4
planes = [np.fft.ifft2(np.fft.fft2(rng.standard_normal((h, w))) * fall).real for _ in range(3)]
picture = np.stack([128 + 45 * v / v.std() for v in planes], -1)
picture[300:500, 350:700] = (250, 30, 90)
image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
exif = Image.Exif()
exif[0x0112] = 6
to = sys.argv[1]
image.save(to + "/a420.jpg", quality=92)
image.save(to + "/b444.jpg", quality=92, subsampling=0)
image.save(to + "/progressive.jpg", quality=92, progressive=True)
image.save(to + "/turned.jpg", quality=92, subsampling=0, exif=exif)
image.convert("L").save(to + "/grey.jpg", quality=92)
]]

setup(function()
  dir = help.folder()
  python = help.python("PIL, numpy")
  if not python then return end
  help.write(dir .. "/make.py", script)
  assert(os.execute(("%s '%s/make.py' '%s'"):format(python, dir, dir)))
end)
teardown(function() help.remove(dir) end)

-- Batches of one epoch over a file, and over its pixels as a tensor: the same seed, epoch and row draw the same part.
local function both(name, transform, epochs, f)
  local path = ("%s/%s"):format(dir, name)
  local whole = assert(core.files({ path }):decode(1))
  local pixels = data.tensors(whole:view { 1, whole:size(1), whole:size(2), 3 })
  local given = { batch = 1, transforms = { transform }, workers = 0 }
  local file = data.loader(data.pictures { paths = { path } }, given)
  local memory = data.loader(pixels, given)
  for epoch = 1, epochs do
    local a, b = file:epoch(epoch)(), memory:epoch(epoch)()
    f((a - b):abs(), epoch)
  end
end

describe("a part of a JPEG", function()
  local names = { "a420.jpg", "b444.jpg", "progressive.jpg", "turned.jpg", "grey.jpg" }

  it("is what the whole picture's part is, when it is not made smaller", function()
    if not python then
      pending("not here: apt-get install python3-pil python3-numpy")
      return
    end
    local crop = T.random_resized_crop { size = { 320, 400 }, scale = { 0.1, 0.15 }, interpolation = "bicubic" }
    for _, name in ipairs(names) do
      both(name, crop, 12, function(d, epoch)
        local mean = d:mean():item()
        assert.truthy(mean < 0.05, ("%s, epoch %d: differs by %g on average"):format(name, epoch, mean))
      end)
    end
  end)

  it("differs little when it is decoded at a half, a quarter, an eighth", function()
    if not python then return end
    for _, size in ipairs { 150, 70, 33 } do
      local crop = T.random_resized_crop { size = size, scale = { 0.8, 1 }, interpolation = "bicubic" }
      for _, name in ipairs(names) do
        both(name, crop, 4, function(d)
          local mean = d:mean():item()
          assert.truthy(mean < 2, ("%s to %d: differs by %g on average"):format(name, size, mean))
        end)
      end
    end
  end)

  it("takes the memory of what is decoded, not of the picture", function()
    if not python then return end
    local function peak(transform)
      local loader = data.loader(data.pictures { paths = { dir .. "/b444.jpg" } },
        { batch = 1, transforms = { transform }, workers = 0 })
      collectgarbage()
      core.reset_peak()
      local before = core.memory().live
      assert(loader:epoch(1)())
      return core.memory().peak - before
    end
    local file = #help.read(dir .. "/b444.jpg")
    assert.truthy(peak(T.resize { size = 32 }) < 2 * file + (1 << 20)) -- 900 * 1200 * 3 are 3.1 MiB more
    assert.truthy(peak(T.random_resized_crop { size = 32, scale = { 0.01, 0.02 } }) < 2 * file + (1 << 20))
  end)
end)

describe("segments of a JPEG", function()
  -- 8 x 8 grey pixels, all the same.
  local head = "\xff\xd8"
  local tail = "\xff\xdb\0\x43\0" .. ("\1"):rep(64) .. "\xff\xc0\0\x0b\8\0\8\0\8\1\1\x11\0"
    .. "\xff\xc4\0\x14\0\1" .. ("\0"):rep(15) .. "\0" .. "\xff\xc4\0\x14\x10\1" .. ("\0"):rep(15) .. "\0"
    .. "\xff\xda\0\8\1\1\0\0\x3f\0\x3f\xff\xd9"
  local exif = "Exif\0\0II*\0" .. string.pack("<I4I2I2I2I4I2I2I4", 8, 1, 0x112, 3, 1, 6, 0, 0)

  local function segment(kind, body) return "\xff" .. kind .. string.pack(">I2", #body + 2) .. body end

  -- Stripes above and below, so that a turn shows: a picture of 16 x 8 has another shape when it lies.
  local function shape_of(bytes)
    local t = assert(core.files({ help.write(dir .. "/segments.jpg", bytes) }):decode(1))
    return t:shape()
  end

  local wide = tail:gsub("\8\0\8\0\8\1\1\x11\0", "\8\0\8\0\x10\1\1\x11\0")

  it("are looked through for the way up, wherever it stands", function()
    assert.same({ 8, 16, 3 }, shape_of(head .. wide))
    assert.same({ 16, 8, 3 }, shape_of(head .. segment("\xe1", exif) .. wide))
    assert.same({ 16, 8, 3 }, shape_of(head .. segment("\xe0", "JFIF\0\1\1\0\0\1\0\1\0\0") .. "\xff\xff"
      .. segment("\xe1", "http://ns.adobe.com/xap/1.0/\0<x/>") .. segment("\xfe", "\xff\xe1") .. segment("\xe1", exif)
      .. wide))
    assert.same({ 8, 16, 3 }, shape_of(head .. segment("\xe1", exif:sub(1, 9)) .. wide))
  end)

  it("may be a hundred thousand", function()
    assert.same({ 16, 8, 3 }, shape_of(head .. segment("\xe1", ""):rep(100000) .. segment("\xe1", exif) .. wide))
  end)
end)

describe("a loop over pictures", function()
  local program = [[
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local pelk = require("pelk")
local T = pelk.data.transforms
local paths = {}
for i = 1, 400 do paths[i] = arg[1] end
local loader = pelk.data.loader(pelk.data.pictures { paths = paths }, { batch = 4, workers = 3, prefetch = 4,
  transforms = { T.random_resized_crop { size = 64 }, T.rand_augment() } })
for _ = 1, 1000 do
  for _, _, number in loader() do
    if number == 3 then
      io.stdout:write("running\n")
      io.stdout:flush()
    end
  end
end
]]

  it("ends at Ctrl-C while threads decode, and leaves none behind", function()
    local picture = dir .. "/picture.png"
    assert(pelk.viz.save_png(pelk.rand({ 300, 400, 3 }), picture))
    local path = help.write(dir .. "/loop.lua", program)
    -- the interpreter turns the signal into an error of the loop; a process that hangs is killed after 20 s
    local shell = ([[
set -m
LUA_CPATH='%s' lua5.4 %s %s >%s/said 2>%s/err & p=$!
until [ -s %s/said ]; do sleep 0.02; kill -0 $p || exit 99; done
kill -INT $p
( sleep 20; kill -9 $p ) 2>/dev/null & dog=$!
wait $p; status=$?
kill $dog 2>/dev/null
exit $status]]):format(package.cpath, path, picture, dir, dir, dir)
    local _, _, status = os.execute("bash " .. help.write(dir .. "/loop.sh", shell) .. " 2>/dev/null")
    assert.are.equal(1, status, help.read(dir .. "/err"))
    assert.truthy(help.read(dir .. "/err"):find("interrupted!", 1, true))
  end)
end)
