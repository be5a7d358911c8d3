-- Pictures in files: decoders, folders, loader threads, the cache; Pillow as oracle where it is installed.

local pelk = require "pelk"
local core = require "pelk.core"
local data = require "pelk.data"
local help = require "spec.help"

local T = data.transforms
local raises, refuses = help.raises, help.refuses
local dir

setup(function() dir = help.folder() end)
teardown(function() help.remove(dir) end)

local function write(name, bytes) return help.write(dir .. "/" .. name, bytes) end
local function folder(name) assert(core.make_dir(dir .. "/" .. name)) end

-- 24x16 pixels, four fields: (200,40,40) (40,160,60) above (30,60,200) (240,230,220), the border at column 12, row 8.
local jpeg = ([[
ffd8ffe000104a46494600010100000100010000ffdb004300080606070605080707070909080a0c140d0c0b0b0c1912130f141d1a1f1e1d
1a1c1c20242e2720222c231c1c2837292c30313434341f27393d38323c2e333432ffdb0043010909090c0b0c180d0d1832211c2132323232
32323232323232323232323232323232323232323232323232323232323232323232323232323232323232323232ffc00011080010001803
011100021101031101ffc400160000030000000000000000000000000000040607ffc4001c10010000070100000000000000000000000004
0743458183c1c3ffc400190100020301000000000000000000000000040601050702ffc4001d110100010305000000000000000000000000
06014381044282c1c2ffda000c03010002110311003f005753b471901531d4548935b1cbc8d724528b5e5baa726ef5a3d0b521b79e8768b7
61522d8e7fffd9]]):gsub("%s", ""):gsub("..", function(hex) return string.char(tonumber(hex, 16)) end)

-- The same with EXIF that says which way is up.
local function oriented(o)
  local tiff = "II*\0" .. string.pack("<I4I2I2I2I4I2I2I4", 8, 1, 0x112, 3, 1, o, 0, 0)
  local app1 = "Exif\0\0" .. tiff
  return jpeg:sub(1, 2) .. "\xff\xe1" .. string.pack(">I2", #app1 + 2) .. app1 .. jpeg:sub(3)
end

local function crc32(text)
  local c = 0xffffffff
  for i = 1, #text do
    c = c ~ text:byte(i)
    for _ = 1, 8 do c = (c & 1) == 1 and (c >> 1) ~ 0xedb88320 or c >> 1 end
  end
  return c ~ 0xffffffff
end

local function chunk(kind, body)
  return string.pack(">I4", #body) .. kind .. body .. string.pack(">I4", crc32(kind .. body))
end

local function png(w, h, bits, color, more)
  return "\x89PNG\r\n\x1a\n" .. chunk("IHDR", string.pack(">I4I4BBBBB", w, h, bits, color, 0, 0, 0)) .. more
    .. chunk("IEND", "")
end

-- zlib's way to store bytes as they are.
local function stored(bytes)
  local a, b = 1, 0
  for i = 1, #bytes do
    a = (a + bytes:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return "\x78\x01\x01" .. string.pack("<I2I2", #bytes, ~#bytes & 0xffff) .. bytes .. string.pack(">I4", b << 16 | a)
end

local function decode(name, options) return core.files({ dir .. "/" .. name }, options):decode(1) end

local near = help.near

describe("JPEG files", function()
  it("are decoded, upright", function()
    write("a.jpg", jpeg)
    local t = decode("a.jpg")
    assert.same({ 16, 24, 3 }, t:shape())
    local fields = { { 200, 40, 40 }, { 40, 160, 60 }, { 30, 60, 200 }, { 240, 230, 220 } }
    for i, at in ipairs { { 3, 3 }, { 3, 22 }, { 14, 3 }, { 14, 22 } } do near(fields[i], t[at[1]][at[2]]:flat(), 2) end
    near({ 200, 40, 40, 255 }, decode("a.jpg", { channels = 4 })[3][3]:flat(), 2)
    near({ 0.299 * 200 + 0.587 * 40 + 0.114 * 40 }, decode("a.jpg", { channels = 1 })[3][3]:flat(), 2)
    -- which field is top left, and is the picture turned?
    local first = { 1, 2, 4, 3, 1, 3, 4, 2 }
    for o = 1, 8 do
      write("o.jpg", oriented(o))
      t = decode("o.jpg")
      assert.same(o < 5 and { 16, 24, 3 } or { 24, 16, 3 }, t:shape())
      near(fields[first[o]], t[3][3]:flat(), 2)
    end
    write("o.jpg", oriented(9))
    assert.same({ 16, 24, 3 }, decode("o.jpg"):shape())
  end)

  it("that are cut or changed are refused, or give a picture", function()
    for n = 0, #jpeg - 3 do
      write("cut.jpg", jpeg:sub(1, n))
      refuses("cut%.jpg: ", decode("cut.jpg"))
    end
    core.manual_seed(1)
    local state = 7
    local function draw(n) -- a small generator of its own: the same changes everywhere
      state = (state * 6364136223846793005 + 1442695040888963407) & math.maxinteger
      return (state >> 33) % n
    end
    for _ = 1, 1500 do
      local bytes = jpeg
      for _ = 1, 1 + draw(3) do
        local at = 3 + draw(#bytes - 3)
        bytes = bytes:sub(1, at - 1) .. string.char(draw(256)) .. bytes:sub(at + 1)
      end
      write("m.jpg", bytes)
      local t, message = decode("m.jpg", { max_pixels = 1 << 20 })
      assert.truthy(t or message:find("m.jpg: ", 1, true))
    end
  end)

  it("promise too much in vain", function()
    local huge = jpeg:gsub("\xff\xc0\0\x11\x08\0\x10\0\x18", "\xff\xc0\0\x11\x08\x40\0\x10\0")
    write("huge.jpg", huge)
    core.reset_peak()
    local before = core.memory().live
    refuses("16 x 24 pixels, at most 100 are read", decode("a.jpg", { max_pixels = 100 }))
    refuses("too few bytes", decode("huge.jpg"))
    assert.truthy(core.memory().peak - before < 1 << 20)
  end)
end)

describe("PNG files", function()
  it("of every kind are decoded", function()
    write("grey.png", png(2, 2, 8, 0, chunk("IDAT", stored("\0\10\20\0\30\40"))))
    assert.same({ 10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40 }, decode("grey.png"):flat())
    assert.same({ 10, 20, 30, 40 }, decode("grey.png", { channels = 1 }):flat())
    write("rgb16.png", png(1, 1, 16, 2, chunk("IDAT", stored("\0\1\200\2\200\3\200"))))
    assert.same({ 1, 2, 3 }, decode("rgb16.png"):flat())
    write("rgba.png", png(2, 1, 8, 6, chunk("IDAT", stored("\0\100\150\200\0\100\150\200\51"))))
    assert.same({ 255, 255, 255, 224, 234, 244 }, decode("rgba.png"):flat())
    assert.same({ 7, 7, 7, 26, 36, 46 }, decode("rgba.png", { background = 7 }):flat())
    assert.same({ 1, 2, 3, 21, 32, 42 }, decode("rgba.png", { background = { 1, 2, 3 } }):flat())
    assert.same({ 100, 150, 200, 0, 100, 150, 200, 51 }, decode("rgba.png", { channels = 4 }):flat())
    local palette = chunk("PLTE", "\1\2\3\9\8\7") .. chunk("tRNS", "\255\0")
    write("palette.png", png(4, 1, 1, 3, palette .. chunk("IDAT", stored("\0\x50"))))
    assert.same({ 1, 2, 3, 255, 255, 255, 1, 2, 3, 255, 255, 255 }, decode("palette.png"):flat())
  end)

  it("that are damaged are refused", function()
    local good = png(2, 2, 8, 0, chunk("IDAT", stored("\0\10\20\0\30\40")))
    write("good.png", good)
    local same = decode("good.png")
    for n = 0, #good - 1 do
      write("cut.png", good:sub(1, n))
      refuses("cut%.png: ", decode("cut.png"))
    end
    for at = 1, #good do
      for bit = 0, 7 do
        write("flip.png", good:sub(1, at - 1) .. string.char(good:byte(at) ~ 1 << bit) .. good:sub(at + 1))
        local t = decode("flip.png")
        assert.truthy(t == nil or t:equal(same))
      end
    end
    write("bomb.png", png(60000, 60000, 8, 6, chunk("IDAT", stored("\0"))))
    core.reset_peak()
    local before = core.memory().live
    refuses("cannot hold 60000 x 60000", decode("bomb.png"))
    write("wide.png", png(20000, 20000, 1, 0, chunk("IDAT", stored(("x"):rep(60000)))))
    refuses("at most 67108864", decode("wide.png"))
    assert.truthy(core.memory().peak - before < 1 << 20)
    local pipe = assert(io.popen("head -c 100000000 /dev/zero | gzip -9 -n -c")) -- 97 kB of deflate
    local zeros = "\x78\x9c" .. pipe:read("a"):sub(11, -9) .. "\0\0\0\1"
    pipe:close()
    write("more.png", png(4, 4, 8, 6, chunk("IDAT", zeros)))
    core.reset_peak()
    before = core.memory().live
    refuses("unpacks to more than its 4 x 4 pixels", decode("more.png"))
    assert.truthy(core.memory().peak - before < 2 << 20)
    write("none.png", png(2, 2, 8, 0, ""))
    refuses("none%.png: ", decode("none.png"))
  end)

  it("and only they and JPEG are read", function()
    for name, bytes in pairs { GIF = "GIF89a;", WebP = "RIFF\0\0\0\0WEBP", BMP = "BM1234", TIFF = "II*\0" } do
      write("x.png", bytes)
      refuses("x%.png: is " .. name .. "; JPEG and PNG are read", decode("x.png"))
    end
    write("x.png", "hello")
    refuses("is no picture", decode("x.png"))
    write("x.png", "")
    refuses("is empty", decode("x.png"))
    refuses("No such file", decode("absent.png"))
    raises("channels must be 1, 3 or 4", core.files, { "x" }, { channels = 2 })
    raises("background", core.files, { "x" }, { background = { 1, 2 } })
    raises("path 1 is", core.files, { 3 })
  end)
end)

-- Three classes of pictures; each grey value says which it is.
local function make_folder(name, broken)
  for c, class in ipairs { "ant", "bee", "cow" } do
    folder(name .. "/" .. class .. "/deep")
    for i = 1, 2 + c do
      local value = string.char(10 * c + i)
      write(("%s/%s/%s%d.png"):format(name, class, i == 1 and "deep/" or "", i),
        png(8, 6, 8, 0, chunk("IDAT", stored(("\0" .. value:rep(8)):rep(6)))))
    end
  end
  write(name .. "/ant/notes.txt", "no picture")
  if broken then write(name .. "/bee/zzz.jpg", jpeg:sub(1, 200)) end
  return dir .. "/" .. name
end

-- stderr while f runs.
local function stderr_of(f)
  local path, kept = dir .. "/stderr", io.stderr
  local file = assert(io.open(path, "w"))
  io.stderr = file -- luacheck: ignore
  local ok, message = pcall(f)
  io.stderr = kept -- luacheck: ignore
  file:close()
  assert.is_true(ok, message)
  return help.read(path)
end

describe("image_folder", function()
  it("lists once, sorted", function()
    local ds = assert(data.image_folder { root = make_folder("set") })
    assert.same({ "ant", "bee", "cow" }, ds.classes)
    assert.equal(12, #ds)
    assert.same({ 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3 }, ds.y:flat())
    assert.same({ 3, 4, 5 }, ds:class_counts())
    near({ 12 / 9, 12 / 12, 12 / 15 }, ds:class_weights():flat(), 1e-6)
    local seen = {}
    for i = 1, 3 do seen[i] = ds:path(i):match("ant/(.*)$") end
    assert.same({ "2.png", "3.png", "deep/1.png" }, seen)
    local picture, label = ds:get(12)
    assert.same({ 6, 8, 3 }, picture:shape())
    assert.equal(31, picture[1][1][1]:item())
    assert.equal(3, label)
    assert.equal("set: 12 files, 3 classes", tostring(ds))
    local a, b = ds:split(0.5, 3)
    assert.equal(12, #a + #b)
    local again = ds:split(0.5, 3)
    for i = 1, #a do assert.equal(a:path(i), again:path(i)) end
    local turned = data.image_folder { root = dir .. "/set", classes = { "cow", "ant" } }
    assert.same({ 1, 1, 1, 1, 1, 2, 2, 2 }, turned.y:flat())
  end)

  it("says what is missing", function()
    refuses("No such file", data.image_folder { root = dir .. "/absent" })
    refuses("no folder for class 'dog'", data.image_folder { root = make_folder("set"), classes = { "dog" } })
    folder("empty/class")
    refuses("no %.jpg", data.image_folder { root = dir .. "/empty" })
    refuses("no folders there", data.image_folder { root = dir .. "/empty/class" })
    raises("root is required", data.image_folder, {})
    raises('broken must be "stop" or "skip"', data.image_folder, { root = dir, broken = "ignore" })
    raises("must bring them to one", data.loader, data.image_folder { root = dir .. "/set" }, {})
    folder("foreign/a")
    write("foreign/a/x.gif", "GIF89a")
    write("foreign/a/y.jpg", jpeg)
    refuses("x%.gif: JPEG and PNG are read", data.image_folder { root = dir .. "/foreign" })
    local said = stderr_of(function()
      assert.equal(1, #data.image_folder { root = dir .. "/foreign", broken = "skip" })
    end)
    assert.truthy(said:find("x.gif", 1, true))
  end)

  it("stops at a broken file, or leaves it out by name", function()
    local root = make_folder("hurt", true)
    local transforms = { T.center_crop { size = 6 } }
    local loader = data.loader(assert(data.image_folder { root = root }), { batch = 4, transforms = transforms })
    raises("loader: .*bee/zzz%.jpg: damaged JPEG: cut short", function() for _ in loader() do end end) -- luacheck: ignore
    local ds = assert(data.image_folder { root = root, broken = "skip" })
    for workers = 0, 2, 2 do
      loader = data.loader(ds, { batch = 4, transforms = transforms, workers = workers })
      local n, sizes = 0, {}
      local said = stderr_of(function()
        for _ = 1, 2 do
          for x, y, number in loader() do
            n = n + y:size(1)
            assert.equal(x:size(1), y:size(1))
            for i = 1, y:size(1) do assert.equal(y[i]:item(), x[i][1][1][1]:item() // 10) end
            sizes[number] = y:size(1)
          end
        end
      end)
      assert.equal(24, n)
      assert.same({ 4, 3, 4, 1 }, sizes)
      assert.equal(1, #loader.broken)
      assert.truthy(loader.broken[1].path:find("bee/zzz.jpg", 1, true))
      assert.equal(1, select(2, said:gsub("\n", "")))
    end
  end)
end)

describe("loader threads", function()
  local pipeline = { T.random_resized_crop { size = { 9, 7 }, interpolation = "bicubic" }, T.hflip {},
    T.rand_augment("rand-m9-mstd0.5-inc1"), T.color_jitter {}, T.to_float(), T.normalize { mean = 0.5, std = 0.2 },
    T.random_erasing { mode = "pixel", p = 0.5 } }

  local function pictures(ds, given, epoch, start)
    given.transforms, given.shuffle, given.seed = pipeline, true, 5
    local all = {}
    for x, y, number in data.loader(ds, given):epoch(epoch, start) do all[number] = { x, y } end
    return all
  end

  it("give the same pictures whatever their number", function()
    local root = make_folder("threads")
    for i = 1, 8 do write(("threads/cow/o%d.jpg"):format(i), oriented(i)) end
    local ds = assert(data.image_folder { root = root })
    local one = pictures(ds, { batch = 3, workers = 0 }, 4)
    assert.equal(7, #one)
    for _, workers in ipairs { 1, 2, 5 } do
      for _, prefetch in ipairs { 0, 1, 4 } do
        local other = pictures(ds, { batch = 3, workers = workers, prefetch = prefetch }, 4)
        assert.equal(#one, #other)
        for i, batch in ipairs(one) do
          assert.is_true(batch[1]:equal(other[i][1]) and batch[2]:equal(other[i][2]))
        end
      end
    end
    local late = pictures(ds, { batch = 3, workers = 2 }, 4, 5)
    assert.is_nil(late[4])
    assert.is_true(late[5][1]:equal(one[5][1]) and late[7][1]:equal(one[7][1]))
    assert.is_false(one[1][1]:equal(pictures(ds, { batch = 3, workers = 2 }, 5)[1][1]))
  end)

  it("end with their loop", function()
    local ds = assert(data.image_folder { root = make_folder("ends") })
    local loader = data.loader(ds, { batch = 2, workers = 3, transforms = { T.resize { size = 4 } } })
    local function threads() return tonumber(help.read("/proc/self/status"):match("Threads:%s*(%d+)")) end
    if not io.open("/proc/self/status") then return end
    local _ = pelk.randn(1 << 20) * 2 -- the pool's threads are there
    local before = threads()
    local function are_gone() -- the system counts a thread that ended for a moment more
      for _ = 1, 100 do
        if threads() == before then return end
        core.sleep(0.01)
      end
      assert.equal(before, threads())
    end
    for _ in loader() do -- luacheck: ignore
      assert.equal(before + 3, threads())
      break
    end
    are_gone()
    for _ in loader() do end -- luacheck: ignore
    are_gone()
    pcall(function() for _ in loader() do error("out") end end) -- luacheck: ignore
    are_gone()
    assert.truthy(loader.wait_seconds > 0)
    assert.truthy(tostring(loader):find("3 workers", 1, true))
  end)

  it("have room for failing allocations", function()
    local ds = assert(data.image_folder { root = make_folder("memory") })
    local rows = core.epoch_order(12, false, 0, 0)
    local function run()
      local feed = core.feed(ds.files, ds.y, rows, pipeline, 4, 0, false, 1, 1, 2, 1, false, false)
      local n = 0
      while true do
        local x, y = feed:next()
        if not x then
          assert(y == nil, y)
          break
        end
        n = n + x:size(1)
      end
      feed:free()
      return n
    end
    assert.equal(12, run())
    for n = 1, 120 do
      core.trim()
      core._fail_alloc(n)
      local ok, result = pcall(run)
      core._fail_alloc(0)
      assert.truthy(ok and result == 12 or not ok and tostring(result):find("memory"), tostring(result))
    end
  end)
end)

describe("a packed cache", function()
  it("is made once, and anew when something changed", function()
    local root = make_folder("pack")
    local ds = assert(data.image_folder { root = root })
    local path, transforms = dir .. "/pack.pictures", { T.resize { size = { 4, 5 } } }
    local packed = assert(data.cache(ds, { path = path, transforms = transforms }))
    assert.same({ 4, 5, 3 }, packed:shape())
    assert.same(ds.classes, packed.classes)
    assert.same(ds.y:flat(), packed.y:flat())
    for i = 1, #ds do assert.equal(ds:get(i)[1][1][1]:item(), packed.x[i][1][1][1]:item()) end
    packed.x:fill_(0) -- the mapping is private
    local again = assert(data.cache(path))
    assert.equal(ds:get(5)[1][1][1]:item(), again.x[5][1][1][1]:item())
    local tensors = assert(core.load_tensors(path))
    assert.same({ 12, 4, 5, 3 }, tensors.images:shape())
    local before = help.read(path)
    help.write(path .. ".mark", "")
    assert(data.cache(ds, { path = path, transforms = transforms }))
    assert.equal(before, help.read(path))
    local other = assert(data.cache(ds, { path = path, transforms = { T.resize { size = 3 } } }))
    assert.same({ 3, 3, 3 }, other:shape())
    local few = assert(data.cache(ds:subset { 12, 1 }, { path = path, transforms = transforms }))
    assert.same({ 3, 1 }, few.y:flat())
    write("bad.pictures", before:sub(1, 100))
    refuses("bad%.pictures: ", data.cache(dir .. "/bad.pictures"))
    refuses("No such file", data.cache(ds, { path = dir .. "/none/x", transforms = transforms }))
    raises("path is required", data.cache, ds, {})
  end)

  it("leaves out what is broken", function()
    local ds = assert(data.image_folder { root = make_folder("packhurt", true), broken = "skip" })
    assert.equal(13, #ds)
    stderr_of(function()
      local packed = assert(data.cache(ds, { path = dir .. "/h.pictures", transforms = { T.resize { size = 4 } } }))
      assert.same({ 3, 4, 5 }, packed:class_counts())
    end)
    local stops = assert(data.image_folder { root = make_folder("packstop", true) })
    local o = { path = dir .. "/s.pictures", transforms = { T.resize { size = 4 } } }
    refuses("^/[^:]*zzz%.jpg", data.cache(stops, o))
  end)

  it("is of these labels and of these values", function()
    local ds, paths, labels = assert(data.image_folder { root = make_folder("packlist") }), {}, {}
    for i = 1, 4 do paths[i], labels[i] = ds:path(i), i % 2 + 1 end
    local o = { path = dir .. "/l.pictures", transforms = { T.resize { size = 4 } } }
    assert.same({ 2, 1, 2, 1 }, assert(data.cache(data.pictures { paths = paths, labels = labels }, o)).y:flat())
    labels[1] = 1
    assert.same({ 1, 1, 2, 1 }, assert(data.cache(data.pictures { paths = paths, labels = labels }, o)).y:flat())
    local y = pelk.tensor({ 1, 2 }, { 2 }, { dtype = "int32" })
    for value = 7, 8 do
      local x = pelk.full({ 2, 4, 4, 1 }, value, { dtype = "uint8" })
      assert.equal(value, assert(data.cache(data.tensors(x, y), { path = dir .. "/v.pictures" })).x[1][1][1][1]:item())
    end
  end)
end)

-- ---- Pillow ----

-- Mean and largest difference of two uint8 tensors.
local function difference(a, b)
  local function floats(t)
    local f = core.empty(t:shape())
    return f:copy_(t)
  end
  local d = (floats(a) - floats(b)):abs()
  return d:mean():item(), d:max():item()
end

describe("Pillow agrees", function()
  local tensors, photographs
  setup(function()
    local python = help.python("PIL, numpy")
    if not python then return end
    folder("pillow")
    local list = io.popen("find /usr/share/backgrounds /usr/share/wallpapers -name '*.jpg' 2>/dev/null | sort")
    photographs = {}
    for path in list:lines() do if #photographs < 3 then photographs[#photographs + 1] = "'" .. path .. "'" end end
    list:close()
    assert(os.execute(("%s spec/pillow/oracle.py '%s/pillow' %s"):format(python, dir, table.concat(photographs, " "))))
    tensors = assert(core.load_tensors(dir .. "/pillow/oracle.safetensors"))
  end)

  local function each(pattern, f)
    if not tensors then
      pending("not here: apt-get install python3-pil python3-numpy")
      return
    end
    local n = 0
    for name, want in pairs(tensors) do
      local a, b, c, d = name:match(pattern)
      if a then
        n = n + 1
        f(want, a, b, c, d)
      end
    end
    assert.truthy(n > 0)
  end

  it("about files", function()
    each("^file%.(.*)$", function(want, name)
      local got = assert(decode("pillow/" .. name))
      assert.same(want:shape(), got:shape(), name)
      local _, most = difference(got, want)
      assert.truthy(most <= 1, ("%s: differs by %g"):format(name, most))
    end)
  end)

  it("about grey and alpha", function()
    each("^grey_of_(.*)$", function(want, name)
      assert.is_true(decode("pillow/" .. name, { channels = 1 }):equal(want))
    end)
    each("^alpha_of_(.*)$", function(want, name)
      assert.is_true(decode("pillow/" .. name, { channels = 4 }):equal(want))
    end)
  end)

  it("about resizing, within 1/255 on average", function()
    if tensors and #photographs == 0 then
      print("skipped: no photographs here (apt-get install lomiri-wallpapers-16.04): one that is made up must do")
    end
    for kind, channels in pairs { resize = 3, grey = 1 } do
      each("^" .. kind .. "%.(%d+)%.(%a+)%.(%d+)%.(%d+)$", function(want, photo, filter, h, w)
        local p = decode(("pillow/photo%s.png"):format(photo), { channels = channels })
        local step = T.resize { size = { math.tointeger(h), math.tointeger(w) }, interpolation = filter }
        local rows = core.epoch_order(1, false, 0, 0)
        local x = core.batch(p:view { 1, p:size(1), p:size(2), channels }, nil, rows, 1, 1, { step }, 0, 0)
        local mean, most = difference(x[1], want)
        assert.truthy(mean < 0.3 and (most <= 1 or filter == "bicubic"), -- Pillow rounds and cuts between its passes
          ("photo %s, %s to %s x %s: differs by %g, %g on average"):format(photo, filter, h, w, most, mean))
      end)
    end
  end)

  it("about the changes of rand_augment", function()
    each("^augment(%d) (%S+) (%S+) ?(%a*)$", function(want, channels, name, value, filter)
      local x = tensors[channels == "3" and "augment.in" or "augment.in1"]
      local got = core._augment(x, name, tonumber(value), filter ~= "" and filter or nil)
      local mean, most = difference(got, want)
      local geometry = filter ~= ""
      assert.truthy(geometry and most <= 1 and mean < 0.05 or most == 0,
        ("%s %s %s: differs by %g, %g on average"):format(name, value, filter, most, mean))
    end)
  end)
end)
