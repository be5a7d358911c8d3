-- Data sets: IDX and CIFAR files, sets, transforms, loaders.

local pelk = require "pelk"
local core = require "pelk.core"
local data = require "pelk.data"

local T = data.transforms
local FASHION = "/usr/share/datasets/fashion-mnist"
local help = require "spec.help"
local read, raises, refuses = help.read, help.raises, help.refuses
local dir

setup(function()
  dir = help.folder()
end)

teardown(function() help.remove(dir) end)

local function write(name, bytes) return help.write(dir .. "/" .. name, bytes) end

local function gzip(name)
  assert(os.execute(("gzip -kf '%s/%s'"):format(dir, name)))
  return dir .. "/" .. name .. ".gz"
end

local function idx(shape, bytes)
  local parts = { string.pack(">I4", 0x800 + #shape) }
  for i, n in ipairs(shape) do parts[i + 1] = string.pack(">I4", n) end
  return table.concat(parts) .. bytes
end

-- 1, 2, 3, ... as a float32 tensor.
local function count(shape)
  local n, values = 1, {}
  for _, s in ipairs(shape) do n = n * s end
  for i = 1, n do values[i] = i end
  return pelk.tensor(values, shape)
end

describe("IDX files", function()
  it("are read plain and compressed", function()
    local path = write("images", idx({ 2, 2, 3 }, "\0\1\2\3\4\5\250\251\252\253\254\255"))
    for _, name in ipairs { path, gzip("images") } do
      local t = assert(core.idx_images(name))
      assert.same({ 2, 2, 3, 1 }, t:shape())
      assert.equal("uint8", t:dtype())
      assert.same({ 0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255 }, t:flat())
      assert.same({ 2, 2, 3 }, core.idx_read(name):shape())
    end
    assert.same({ 1, 3, 10 }, core.idx_labels(write("labels", idx({ 3 }, "\0\2\9")), 10):flat())
  end)

  it("that lie, or are damaged, are refused", function()
    local huge = 0xffffffff
    local cases = {
      { "cut short", "" }, { "cut short", "\0\0" }, { "cut short", "\0\0\8\3\0\0" },
      { "not an IDX", "PK\3\4aaaaaaaa" }, { "type 0x0d", "\0\0\13\1\0\0\0\1\0\0\0\0" },
      { "0 dimensions", "\0\0\8\0" }, { "255 dimensions", "\0\0\8\255" .. ("\0"):rep(2000) },
      { "dimension 2 is 0", idx({ 1, 0, 1 }, "") }, { "too large", idx({ huge, huge, huge }, "") },
      { "cut short.* holds 0", idx({ 60000, 28, 28 }, "") }, { "cut short.* holds 3", idx({ 4 }, "abc") },
      { "more data", idx({ 4 }, "abcde") },
    }
    for i, case in ipairs(cases) do
      local name = "bad" .. i
      local path = write(name, case[2])
      local before = core.memory().live
      core.reset_peak()
      refuses(case[1], core.idx_read(path))
      refuses(case[1], core.idx_read(gzip(name)))
      assert.truthy(core.memory().peak - before < 1 << 20)
    end
    refuses("images have 3", core.idx_images(write("flat", idx({ 2 }, "ab"))))
    refuses("labels have 1", core.idx_labels(write("deep", idx({ 1, 1 }, "a"))))
    refuses("label 10 of item 2", core.idx_labels(write("high", idx({ 2 }, "\0\10"))))
    refuses("No such file", core.idx_read(dir .. "/none"))
    refuses("is a directory", core.idx_read(dir))
  end)

  it("whose compression is damaged are refused, or give the same", function()
    write("whole", idx({ 10 }, "abcdefghij"))
    local bytes = read(gzip("whole"))
    local same = core.idx_read(dir .. "/whole")
    for n = 2, #bytes - 1 do refuses("cut short", core.idx_read(write("cut", bytes:sub(1, n)))) end
    refuses("after the end", core.idx_read(write("tail", bytes .. "x")))
    refuses("after the end", core.idx_read(write("twice", bytes .. bytes)))
    for at = 3, #bytes do
      for flip = 0, 7 do
        local changed = bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1 << flip) .. bytes:sub(at + 1)
        local t = core.idx_read(write("changed", changed))
        assert.truthy(t == nil or t:equal(same))
      end
    end
  end)
end)

describe("CIFAR-10 files", function()
  it("become pixels and labels", function()
    local record = "\7" .. ("\1"):rep(1024) .. ("\2"):rep(1024) .. ("\3"):rep(1024)
    local x, y = core.cifar_read(write("c.bin", record .. "\0" .. ("\9"):rep(3072)))
    assert.same({ 2, 32, 32, 3 }, x:shape())
    assert.same({ 1, 2, 3 }, x[1][1][1]:flat())
    assert.same({ 8, 1 }, y:flat())
    refuses("whole number of records", core.cifar_read(write("d.bin", record .. "x")))
    refuses("label 10", core.cifar_read(write("e.bin", "\10" .. ("\0"):rep(3072))))
    refuses("No such file", data.cifar10 { root = dir })
  end)

  it("make whole sets", function()
    for i = 1, 5 do -- picture k of file i: label k mod 10, all bytes i
      local records = {}
      for k = 1, 10 do records[k] = string.char(k - 1) .. string.char(i):rep(3072) end
      write(("data_batch_%d.bin"):format(i), table.concat(records):rep(1000))
    end
    write("test_batch.bin", ("\3" .. ("\9"):rep(3072)):rep(10000))
    local ds = assert(data.cifar10 { root = dir })
    assert.equal(50000, #ds)
    assert.same({ 32, 32, 3 }, ds:shape())
    local picture, label = ds:get(20007)
    assert.equal(3, picture[32][32][3]:item())
    assert.equal("frog", ds.classes[label])
    for _, n in ipairs(ds:class_counts()) do assert.equal(5000, n) end
    ds = assert(data.cifar10 { root = dir, split = "test" })
    assert.equal("cat", ds.classes[select(2, ds:get(10000))])
    write("data_batch_3.bin", ("\3" .. ("\9"):rep(3072)):rep(9999))
    refuses("data_batch_3.bin: 9999 pictures, expected 10000", data.cifar10 { root = dir })
  end)
end)

describe("CIFAR-100 files", function()
  local fine, coarse = {}, {}
  for i = 1, 100 do fine[i] = "fine" .. i end
  for i = 1, 20 do coarse[i] = "coarse" .. i end

  it("become pixels, fine and coarse labels, names", function()
    -- record k: coarse label k mod 20, fine label k mod 100, red 1, green 2, blue k mod 100
    local records = {}
    for k = 0, 99 do
      records[k + 1] = string.char(k % 20, k) .. ("\1"):rep(1024) .. ("\2"):rep(1024) .. string.char(k):rep(1024)
    end
    local hundred = table.concat(records)
    write("train.bin", hundred:rep(500))
    write("test.bin", hundred:rep(100))
    write("fine_label_names.txt", table.concat(fine, "\n") .. "\n")
    write("coarse_label_names.txt", table.concat(coarse, "\n") .. "\n\n")
    local ds = assert(data.cifar100 { root = dir })
    assert.equal(50000, #ds)
    local picture, label = ds:get(138)
    assert.same({ 1, 2, 37 }, picture[5][6]:flat())
    assert.equal(38, label)
    assert.equal("fine38", ds.classes[label])
    ds = assert(data.cifar100 { root = dir, split = "test", labels = "coarse" })
    assert.equal(10000, #ds)
    assert.equal("coarse18", ds.classes[select(2, ds:get(138))])
    assert.equal(20, #ds.classes)
  end)

  it("that are others are refused", function()
    write("test.bin", "\20\0" .. ("\0"):rep(3072))
    refuses("label 20", data.cifar100 { root = dir, split = "test", labels = "coarse" })
    refuses("1 pictures, expected 10000", data.cifar100 { root = dir, split = "test" })
    write("test.bin", "\0\100" .. ("\0"):rep(3072))
    refuses("label 100", data.cifar100 { root = dir, split = "test" })
    write("test.bin", ("\0"):rep(3073))
    refuses("whole number of records of 3074", data.cifar100 { root = dir, split = "test" })
    refuses("No such file", data.cifar100 { root = dir .. "/none" })
    raises('"fine" or "coarse", got medium', data.cifar100, { root = dir, labels = "medium" })
  end)
end)

describe("MNIST files", function()
  -- n pictures: byte (y, x) of picture k is (28 y + x + k) mod 251, label k mod 10, all from 0.
  local function make(name, n, split)
    local bytes, pictures, labels = {}, {}, {}
    for i = 0, 784 + 250 do bytes[i + 1] = string.char(i % 251) end
    local line = table.concat(bytes)
    for k = 0, n - 1 do pictures[k + 1], labels[k + 1] = line:sub(k % 251 + 1, k % 251 + 784), string.char(k % 10) end
    write(name .. split:format("images", 3), idx({ n, 28, 28 }, table.concat(pictures)))
    write(name .. split:format("labels", 1), idx({ n }, table.concat(labels)))
  end

  local function check(ds, name, n, zero)
    assert.equal(n, #ds)
    assert.same({ 28, 28, 1 }, ds:shape())
    assert.equal("uint8", ds.x:dtype())
    assert.equal(("%s: %d items of {28,28,1} uint8, 10 classes"):format(name, n), tostring(ds))
    for _, many in ipairs(ds:class_counts()) do assert.equal(n // 10, many) end
    for _, i in ipairs { 1, 2, 251, 252, n // 2, n - 1, n } do
      local picture, label = ds:get(i)
      assert.equal((i - 1) % 10 + 1, label)
      for _, at in ipairs { { 1, 1 }, { 1, 28 }, { 2, 1 }, { 17, 5 }, { 28, 28 } } do
        local y, x = at[1], at[2]
        assert.equal((28 * (y - 1) + x - 1 + i - 1) % 251, picture[y][x][1]:item())
      end
    end
    assert.equal(zero, ds.classes[1])
  end

  setup(function()
    assert(core.make_dir(dir .. "/mnist"))
    make("mnist/", 60000, "train-%s-idx%d-ubyte")
    make("mnist/", 10000, "t10k-%s.idx%d-ubyte") -- as some copies are named
  end)

  it("are read plain and compressed", function()
    local root = dir .. "/mnist"
    check(assert(data.mnist { root = root }), "MNIST train", 60000, "0")
    check(assert(data.mnist { root = root, split = "test" }), "MNIST test", 10000, "0")
    for _, kind in ipairs { "images-idx3", "labels-idx1" } do
      local plain = ("mnist/train-%s-ubyte"):format(kind)
      gzip(plain)
      write(plain, "the compressed one comes first")
    end
    local ds = assert(data.mnist { root = root, split = "train" })
    check(ds, "MNIST train", 60000, "0")
    assert.equal("9", ds.classes[10])
    check(assert(data.fashion_mnist { root = root }), "Fashion-MNIST train", 60000, "T-shirt/top")
  end)

  it("of other sizes are refused", function()
    local root = dir .. "/mnist"
    write("mnist/t10k-labels.idx1-ubyte", idx({ 9999 }, ("\0"):rep(9999)))
    refuses("10000 pictures and 9999 labels, test has 10000 of each", data.mnist { root = root, split = "test" })
    write("mnist/t10k-labels.idx1-ubyte", idx({ 10000 }, ("\0"):rep(9999) .. "\10"))
    refuses("label 10 of item 10000", data.mnist { root = root, split = "test" })
    assert(os.remove(root .. "/t10k-labels.idx1-ubyte"))
    refuses("no t10k%-labels%-idx1%-ubyte.gz or", data.mnist { root = root, split = "test" })
  end)
end)

describe("folders of pictures", function()
  local function lay(path)
    assert(core.make_dir(dir .. "/" .. path:match("^(.*)/")))
    write(path, "")
  end
  local function link(path, to) assert(os.execute(("ln -s '%s' '%s/%s'"):format(to, dir, path))) end

  -- The paths of a set behind the folder, and its labels.
  local function listed(ds, folder)
    local paths, n = {}, #dir + #folder + 2
    for i = 1, #ds do paths[i] = ds:path(i):sub(n + 1) end
    return paths, ds.y and ds.y:flat()
  end

  it("are listed by bytes, whatever the locale", function()
    local locales = dir .. "/locales"
    assert(core.make_dir(locales))
    os.execute(("localedef --no-archive -i en_US -f UTF-8 '%s/en_US.UTF-8' >/dev/null 2>&1"):format(locales))
    if not help.names(locales .. "/en_US.UTF-8") then
      return pending("not here: localedef, or what it makes en_US from (apt-get install locales)")
    end
    for _, name in ipairs { "a1.png", "Z.png", "\xc3\xa9.png", "a-b.png", "a.png", "z.png", "B.png" } do
      lay("order/two/" .. name)
      lay("order/Three/" .. name)
    end
    local script = write("order.lua", [[
      assert(os.setlocale("en_US.UTF-8", "collate"))
      assert("b" < "C", "the locale is not in force")
      local ds = assert(require("pelk.data").image_folder { root = arg[1] })
      for i = 1, #ds do print(ds:path(i):sub(#arg[1] + 2)) end]])
    assert(os.execute(("LOCPATH='%s' LUA_PATH='%s' LUA_CPATH='%s' lua5.4 '%s' '%s/order' >'%s/listed'"):format(locales,
      package.path, package.cpath, script, dir, dir)))
    local sorted = { "B.png", "Z.png", "a-b.png", "a.png", "a1.png", "z.png", "\xc3\xa9.png" }
    assert.equal("Three/" .. table.concat(sorted, "\nThree/") .. "\ntwo/" .. table.concat(sorted, "\ntwo/") .. "\n",
      read(dir .. "/listed"))
  end)

  it("with links to folders that hold them are listed once", function()
    for _, path in ipairs { "ant/1.png", "ant/deep/2.png", "bee/3.png" } do lay("ring/" .. path) end
    link("ring/ant/deep/up", "..") -- its own parent
    assert.equal(3, #assert(data.pictures { root = dir .. "/ring" })) -- alone first: several that went round never end
    link("ring/ant/self", ".")
    link("ring/bee/top", "../../ring")
    link("ring/all", dir .. "/ring") -- not a class
    link("ring/ant/knot", "knot")
    local paths, labels = listed(assert(data.image_folder { root = dir .. "/ring" }), "ring")
    assert.same({ "ant/1.png", "ant/deep/2.png", "bee/3.png" }, paths)
    assert.same({ 1, 1, 2 }, labels)
    assert.same(paths, (listed(assert(data.pictures { root = dir .. "/ring" }), "ring")))
    refuses("no folder for class 'all'", data.image_folder { root = dir .. "/ring", classes = { "all" } })
    link("ring/bee/other", "../ant/deep") -- followed: it is elsewhere, and so is its parent
    paths, labels = listed(assert(data.image_folder { root = dir .. "/ring" }), "ring")
    assert.same({ "ant/1.png", "ant/deep/2.png", "bee/3.png", "bee/other/2.png", "bee/other/up/1.png" }, paths)
    assert.same({ 1, 1, 2, 2, 2 }, labels)
    lay("halves/train/ant/1.png")
    lay("halves/test/ant/2.png")
    link("halves/train/ant/both", "../..")
    local ds = assert(data.image_folder { root = dir .. "/halves", split = "train" })
    assert.same({ "train/ant/1.png" }, (listed(ds, "halves")))
  end)
end)

describe("Fashion-MNIST", function()
  it("is complete", function()
    if not io.open(FASHION .. "/t10k-labels-idx1-ubyte.gz") then
      pending("not here: apt-get install dataset-fashion-mnist")
      return
    end
    for split, n in pairs { train = 60000, test = 10000 } do
      local ds = assert(data.fashion_mnist { split = split })
      assert.equal(n, ds:size())
      assert.same({ 28, 28, 1 }, ds:shape())
      local seen = {}
      for _, label in ipairs(ds.y:flat()) do seen[label] = (seen[label] or 0) + 1 end
      for class = 1, 10 do assert.equal(n // 10, seen[class]) end
    end
    local ds = data.fashion_mnist { split = "train" }
    local _, label = ds:get(1)
    assert.equal("Ankle boot", ds.classes[label])
  end)

  it("says how to get it", function()
    refuses("apt%-get install dataset%-fashion%-mnist", data.fashion_mnist { root = dir .. "/none" })
    raises("did you mean 'root'", data.fashion_mnist, { rot = "x" })
    raises('split must be "train" or "test", got val', data.fashion_mnist, { split = "val" })
  end)

  it("is refused when the files are others", function()
    write("t10k-images-idx3-ubyte", idx({ 2, 28, 28 }, ("x"):rep(2 * 784)))
    write("t10k-labels-idx1-ubyte", idx({ 2 }, "\0\1"))
    refuses("2 pictures and 2 labels", data.mnist { root = dir, split = "test" })
    raises("root is required", data.mnist, {})
  end)
end)

describe("data sets", function()
  local ds

  before_each(function()
    ds = data.tensors(count { 10, 2, 2, 1 }, pelk.tensor({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, { dtype = "int32" }),
      { classes = { "a", "b" }, name = "ten" })
  end)

  it("give items", function()
    local x, label = ds:get(3)
    assert.equal(3, label)
    assert.same({ 9, 10, 11, 12 }, x:flat())
    assert.equal(10, #ds)
    assert.equal("ten: 10 items of {2,2,1} float32, 2 classes", tostring(ds))
    raises("item 11, the data set has 1 to 10", ds.get, ds, 11)
    raises("item 0", ds.get, ds, 0)
    raises("item x", ds.get, ds, "x")
  end)

  it("are taken from and split", function()
    local few = ds:take(4)
    assert.equal(4, #few)
    local a, b = ds:split(0.7, 1)
    assert.equal(7, #a)
    assert.equal(3, #b)
    local seen = {}
    for _, part in ipairs { a, b } do
      for i = 1, #part do
        local _, label = part:get(i)
        assert.is_nil(seen[label])
        seen[label] = true
      end
    end
    local again = ds:split(0.7, 1)
    for i = 1, 7 do assert.equal(select(2, a:get(i)), select(2, again:get(i))) end
    local _, label = ds:subset({ 9, 3 }):take(1):get(1)
    assert.equal(9, label)
    raises("between 0 and 1", ds.split, ds, 1)
    raises("leaves one side empty", ds.split, ds, 0.01)
    raises("take: 11 items", ds.take, ds, 11)
    raises("x has 10 rows, y 2", data.tensors, count { 10, 2 }, pelk.ones { 2 })
    raises("must be a uint8 or float32", data.tensors, "x")
  end)
end)

describe("transforms", function()
  local function run(x, transforms, seed, epoch)
    local rows = core.epoch_order(x:size(1), false, 0, 0)
    return core.batch(x, nil, rows, 1, x:size(1), transforms, seed or 0, epoch or 1)
  end

  it("do what their names say", function()
    local bytes = pelk.tensor({ 0, 51, 255, 102 }, { 1, 2, 2, 1 }, { dtype = "uint8" })
    assert.same({ 0, 51, 255, 102 }, run(bytes, {}):flat())
    assert.is_true(run(bytes, { T.to_float() }):allclose(pelk.tensor({ 0, 0.2, 1, 0.4 }, { 1, 2, 2, 1 })))
    local x = count { 1, 2, 3, 2 }
    local normalized = run(x, { T.normalize { mean = { 1, 4 }, std = { 2, 2 } } })
    assert.same({ 0, -1, 1, 0, 2, 1, 3, 2, 4, 3, 5, 4 }, normalized:flat())
    assert.same({ 5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8 }, run(x, { T.hflip { p = 1 } }):flat())
    assert.same(x:flat(), run(x, { T.hflip { p = 0 } }):flat())
    assert.same({ 3, 4, 9, 10 }, run(x, { T.center_crop { size = { 2, 1 } } }):flat())
    assert.same(x:flat(), run(x, { T.random_crop {} }):flat())
    assert.same(x:flat(), run(x, { T.resize { size = { 2, 3 } } }):flat())
    assert.same({ 0, 0, 0, 0 }, run(pelk.ones { 1, 2, 2, 1 }, { T.random_erasing { p = 1, min_area = 1, max_area = 1,
      ratio = 1 } }):flat())
  end)

  it("crop a padded picture at every place", function()
    local x = count { 1, 3, 3, 1 }
    local seen, n = {}, 0
    for epoch = 1, 300 do
      local t = run(x, { T.random_crop { padding = 1 } }, 0, epoch)
      local key = table.concat(t:flat(), " ")
      if not seen[key] then seen[key], n = true, n + 1 end
    end
    assert.equal(9, n)
    assert.truthy(seen["0.0 0.0 0.0 0.0 1.0 2.0 0.0 4.0 5.0"] and seen["5.0 6.0 0.0 8.0 9.0 0.0 0.0 0.0 0.0"])
  end)

  it("resize by area when reducing and in lines when enlarging", function()
    local small = run(count { 1, 4, 4, 1 }, { T.resize { size = 1 } }):flat()
    assert.near(8.5, small[1], 1e-5)
    local wide = run(pelk.tensor({ 0, 1 }, { 1, 1, 2, 1 }), { T.resize { size = { 1, 4 } } }):flat()
    for i, want in ipairs { 0, 0.25, 0.75, 1 } do assert.near(want, wide[i], 1e-6) end
    local constant = run(pelk.ones { 1, 17, 23, 3 }, { T.resize { size = { 9, 31 } } })
    assert.is_true(constant:allclose(pelk.ones { 1, 9, 31, 3 }))
    local crop = run(pelk.ones { 4, 17, 23, 3 }, { T.random_resized_crop { size = 8 } })
    assert.is_true(crop:allclose(pelk.ones { 4, 8, 8, 3 }))
  end)

  it("change colours within their bounds", function()
    local x = pelk.rand { 200, 3, 3, 3 }
    local function only(name, amount)
      local given = { brightness = 0, contrast = 0, saturation = 0 }
      given[name] = amount or 0.5
      return T.color_jitter(given)
    end
    assert.is_true(run(x, { only("contrast", 0) }):allclose(x, { atol = 1e-6 }))
    local ratio = (run(x, { only("brightness") }) / x):reshape { 200, 27 }
    assert.is_true(ratio:allclose(ratio:mean { dim = 2, keepdim = true }:expand { 200, 27 }, { rtol = 1e-4 }))
    assert.truthy(ratio:min():item() > 0.499 and ratio:max():item() < 1.501)
    assert.truthy(ratio:min():item() < 0.6 and ratio:max():item() > 1.4)
    local grey = pelk.tensor { 0.299, 0.587, 0.114 }
    local function greys(t) return (t * grey):sum(4) end
    local contrast, saturation = run(x, { only("contrast") }), run(x, { only("saturation") })
    assert.is_true(greys(saturation):allclose(greys(x), { atol = 1e-5 }))
    assert.is_true(greys(contrast):mean { 2, 3 }:allclose(greys(x):mean { 2, 3 }, { atol = 1e-5 }))
    assert.is_false(contrast:allclose(x, { atol = 0.01 }) or saturation:allclose(x, { atol = 0.01 }))
    local one = pelk.rand { 4, 3, 3, 1 }
    assert.is_true(run(one, { only("saturation") }):allclose(one, { atol = 1e-6 }))
  end)

  it("happen as often as they should", function()
    local x = count { 1, 1, 2, 1 }:expand { 2000, 1, 2, 1 }:contiguous()
    local t, flipped = run(x, { T.hflip { p = 0.3 } }):flat(), 0
    for i = 1, #t, 2 do if t[i] == 2 then flipped = flipped + 1 end end
    assert.truthy(math.abs(flipped / 2000 - 0.3) < 0.04)
  end)

  it("are the same on any number of threads", function()
    local x = core.randn { 64, 9, 9, 2 }
    local pipeline = { T.random_crop { padding = 2 }, T.hflip {}, T.random_resized_crop { size = 8 },
      T.random_erasing { p = 0.5 }, T.color_jitter {} }
    local threads = core.threads()
    core.set_threads(1)
    local one = run(x, pipeline, 5, 2)
    for _, n in ipairs { 2, 3, 5 } do
      core.set_threads(n)
      assert.is_true(one:equal(run(x, pipeline, 5, 2)))
    end
    core.set_threads(threads)
    assert.is_false(one:equal(run(x, pipeline, 5, 3)))
    assert.is_false(one:equal(run(x, pipeline, 6, 2)))
  end)

  it("print, list themselves and refuse nonsense", function()
    assert.equal("random_crop{size={0,0}, padding={4,4}}", tostring(T.random_crop { padding = 4 }))
    assert.equal("to_float", tostring(T.to_float()))
    assert.equal("hflip", T.hflip {}:name())
    assert.equal(0.5, T.hflip {}:options().p)
    raises("there is no transform 'flip'; there are center_crop", function() return T.flip {} end)
    raises("did you mean 'padding'", T.random_crop, { paddin = 3 })
    raises("mean", T.normalize, { std = 1 })
    local x = count { 1, 2, 2, 1 }
    raises("crop of 3 x 3 from a picture of 2 x 2", run, x, { T.center_crop { size = 3 } })
    raises("mean has 2 numbers, the data has 1", run, x, { T.normalize { mean = { 1, 2 }, std = 1 } })
    raises("hflip: wants pictures", run, count { 3, 4 }, { T.hflip {} })
    raises("min_area", run, x, { T.random_erasing { min_area = 0.5, max_area = 0.1 } })
    raises("transform 1 must be", run, x, { "hflip" })
    raises("row 9, there are 1 to 1", core.batch, x, nil, pelk.tensor({ 9 }, { dtype = "int32" }), 1, 1, {}, 0, 0)
  end)
end)

describe("loaders", function()
  local ds

  before_each(function()
    local labels = {}
    for i = 1, 25 do labels[i] = i end
    ds = data.tensors(count { 25, 2, 2, 1 }, pelk.tensor(labels, { dtype = "int32" }))
  end)

  local function labels_of(iterator)
    local all = {}
    for _, y in iterator do for _, v in ipairs(y:flat()) do all[#all + 1] = v end end
    return all
  end

  it("give every item once an epoch", function()
    local loader = data.loader(ds, { batch = 8, shuffle = true, seed = 3 })
    assert.equal(4, #loader)
    assert.equal(4, loader:batches())
    assert.same({ 8, 2, 2, 1 }, loader:shape())
    local first, second = labels_of(loader()), labels_of(loader())
    local sorted = { table.unpack(first) }
    table.sort(sorted)
    for i = 1, 25 do assert.equal(i, sorted[i]) end
    assert.not_same(first, second)
    assert.same(first, labels_of(loader:epoch(1)))
    assert.same(second, labels_of(loader:epoch(2)))
    loader:set_epoch(1)
    assert.same(first, labels_of(loader()))
    for x, y in loader() do
      for i = 1, y:size(1) do assert.equal(4 * y[i]:item() - 3, x[i][1][1][1]:item()) end
    end
  end)

  it("go on from any batch with the same pictures", function()
    local transforms = { T.random_crop { padding = 1 } }
    local loader = data.loader(ds, { batch = 4, shuffle = true, seed = 9, transforms = transforms })
    local whole = {}
    for x, y, number in loader:epoch(5) do whole[number] = { x, y } end
    for start = 1, #loader do
      for x, y, number in loader:epoch(5, start) do
        assert.is_true(x:equal(whole[number][1]) and y:equal(whole[number][2]))
        assert.truthy(number >= start)
      end
    end
    assert.is_nil(loader:epoch(5, #loader + 1)())
  end)

  it("give a picture that depends on its row, not on its batch", function()
    local function pictures(batch, part)
      local by_label, transforms = {}, { T.random_crop { padding = 1 } }
      local loader = data.loader(part, { batch = batch, shuffle = true, seed = 1, transforms = transforms })
      for x, y in loader:epoch(2) do for i = 1, y:size(1) do by_label[y[i]:item()] = x[i]:flat() end end
      return by_label
    end
    local all = pictures(4, ds)
    assert.same(all, pictures(25, ds))
    for label, picture in pairs(pictures(3, ds:subset { 20, 2, 7 })) do assert.same(all[label], picture) end
  end)

  it("drop the last part, or not", function()
    assert.equal(3, #data.loader(ds, { batch = 8, drop_last = true }))
    assert.equal(24, #labels_of(data.loader(ds, { batch = 8, drop_last = true })()))
    assert.equal(25, #labels_of(data.loader(ds, { batch = 8 })()))
    assert.same({ 1, 2, 3 }, labels_of(data.loader(ds:take(3))()))
  end)

  it("bring bytes to 0..1 unless told otherwise", function()
    local bytes = data.tensors(pelk.tensor({ 0, 255 }, { 2, 1, 1, 1 }, { dtype = "uint8" }))
    local x, y = data.loader(bytes)()()
    assert.same({ 0, 1 }, x:flat())
    assert.is_nil(y)
    assert.same({ 0, 255 }, data.loader(bytes, { transforms = {} })()():flat())
  end)

  it("take features and targets", function()
    local set = data.tensors(count { 4, 3 }, count { 4, 2 })
    local x, y = data.loader(set, { batch = 2 })()()
    assert.same({ 2, 3 }, x:shape())
    assert.same({ { 1, 2 }, { 3, 4 } }, y:tolist())
  end)

  it("refuse nonsense at once", function()
    raises("did you mean 'batch'", data.loader, ds, { batchh = 3 })
    raises("batch must be at least 1", data.loader, ds, { batch = 0 })
    raises("batch must be integer", data.loader, ds, { batch = "8" })
    raises("must be a data set", data.loader, {})
    raises("crop of 9 x 9", data.loader, ds, { transforms = { T.center_crop { size = 9 } } })
    raises("start_batch must be", data.loader(ds).epoch, data.loader(ds), 1, 0)
  end)

  it("take a batch of any size, and rows that are theirs", function()
    local loader = data.loader(ds, { batch = math.maxinteger })
    assert.equal(1, #loader)
    assert.equal(ds:size(), #labels_of(loader()))
    local rows, seen = pelk.tensor({ 1, 2, 3 }, { 3 }, { dtype = "int32" }), 0
    for _ in data.loader(ds, { batch = 1 }):epoch(0, 1, rows) do
      rows:fill_(2000000000)
      seen = seen + 1
    end
    assert.equal(3, seen)
    raises("row 2000000000", data.loader(ds).epoch, data.loader(ds), 0, 1, rows)
  end)

  it("weigh classes so that the mean over the items is 1, where some have none", function()
    local y = pelk.tensor({ 1, 1, 3, 3 }, { 4 }, { dtype = "int32" })
    assert.same({ 1, 0, 1 }, data.tensors(pelk.rand(4, 2), y):class_weights():flat())
  end)

  it("say how a loop over them is written", function()
    local loader = data.loader(ds, { batch = 8 })
    raises("for x, y in loader%(%) do", function()
      local total = 0
      for x in loader do total = total + x:numel() end
    end)
  end)
end)
