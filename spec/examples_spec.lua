-- Every example runs, as its head says it is to be run, at a small size; none rots.
local core = require("pelk.core")
local help = require("spec.help")
local json = require("pelk.json")

local there, missing = require("pelk.data").fashion_mnist({ split = "test" })
local dir

setup(function() dir = help.folder() end)
teardown(function() help.remove(dir) end)

--- Status, output and errors of an example, run as from a fresh shell: it finds the library by itself.
local function run(name, words)
  local command = "env -u LUA_PATH -u LUA_CPATH lua5.4 examples/%s.lua %s >'%s/stdout' 2>'%s/stderr'"
  local _, _, status = os.execute(command:format(name, words, dir, dir))
  return status, help.read(dir .. "/stdout"), help.read(dir .. "/stderr")
end

local function is_picture(path)
  local bytes = help.read(path)
  return bytes:sub(1, 8) == "\137PNG\r\n\26\n" and bytes:sub(-8, -5) == "IEND"
end

-- {name, small settings, what it must print, pictures}; charts need gnuplot.
local chart = os.execute("command -v gnuplot >/dev/null 2>&1") == true
local cases = {
  { "01_tensors", "steps=300", { "100.0 %% of what", "step 300: error 0%.%d+, that is [23]%.", "at most 0%.00" },
    { "kernels" } },
  { "02_train", "epochs=1 images=128 tests=100", { "training on 128 images, testing on 100",
    "test accuracy %d+%.%d+ %% on 100 images, after 1 epochs" }, { "grids", "kernels", chart and "curves" } },
  { "03_compose", "steps=3 images=192 tests=250", { "paper +725%.090 M", "kernel must be odd, got 48",
    "27, grid 5,4,2,1,1,1", "on 250 images", "Linear +%d" }, { chart and "time" } },
  { "04_sweep_kernels", "epochs=1 images=64 tests=50", { "31,15,7", "tabular" }, {} },
  { "05_grids", "steps=1 tests=50", { "#1 ones %(dense%) +1089 = 33x33 +100.0 %%",
    "#6 inside out +121 = 11x11 +11.1 %%" }, { "grids" } },
  { "06_erf", "steps=2 images=2 size=40", { "kernels 31%-15%-7, loss", "field of 2 pictures, 40 x 40",
    "kernels 3%-3%-3, loss" }, { "erf", "erf-31-15-7", "erf-3-3-3" } },
  { "07_sparse", "steps=26 tests=50", { "dense: +loss", "sparse: +loss", "density 40.00 %%: 58836 of 147090",
    "1 updates, the last in step 25" }, { "masks" } },
  { "08_cam", "steps=3 images=6", { "cam: MaxBoxAcc", "gradcam: MaxBoxAcc", "pc1: MaxBoxAcc" }, { "cam" } },
  { "09_export", "steps=3 tests=250", { "31x31, shared on 11x11", "loaded again, the same to the bit: true",
    "opset 17" }, { "merged" } },
}

describe("example", function()
  for _, case in ipairs(cases) do
    local name = case[1]
    it(name .. " runs, prints and draws", function()
      if not there and name ~= "01_tensors" then return pending(missing) end
      local out = dir .. "/" .. name
      local status, text, errors = run(name, ("%s out='%s'"):format(case[2], out))
      assert.are.equal(0, status, errors)
      for _, pattern in ipairs(case[3]) do assert(text:find(pattern), pattern .. " is not in\n" .. text) end
      for _, picture in ipairs(case[4]) do
        assert(not picture or is_picture(("%s/%s.png"):format(out, picture)), picture)
      end
    end)
  end

  it("each numbered one is run here", function()
    local listed = {}
    for _, case in ipairs(cases) do listed[case[1] .. ".lua"] = true end
    for _, entry in ipairs(assert(core.list_dir("examples"))) do
      assert(not entry[1]:find("^%d%d_") or listed[entry[1]], entry[1])
    end
  end)

  it("tells what it is for, and what it does not understand", function()
    for _, name in ipairs { "01_tensors", "02_train", "03_compose", "04_sweep_kernels", "05_grids", "06_erf",
      "07_sparse", "08_cam", "09_export", "ablations", "sparse_width", "emoji_folders", "emoji_study", "kernel_study",
      "fashion_mnist_best" } do
      local status, text = run(name, "--help")
      assert.are.equal(0, status)
      assert(text:find("lua5.4 examples/" .. name .. ".lua", 1, true) and text:find("\n\noptions: "), text)
      local errors
      status, _, errors = run(name, "stpes=3")
      assert.are.equal(2, status)
      assert(errors:find("unknown 'stpes'", 1, true), errors)
    end
  end)

  it("is found from anywhere", function()
    local here = io.popen("pwd"):read("l")
    local command = "cd / && env -u LUA_PATH -u LUA_CPATH lua5.4 '%s/examples/01_tensors.lua' steps=1 out='%s/away'"
    assert.is_true(os.execute((command .. " >/dev/null"):format(here, dir)))
    assert(is_picture(dir .. "/away/kernels.png"))
  end)

  it("goes on where training stopped", function()
    if not there then return pending(missing) end
    local out = dir .. "/again"
    assert.are.equal(0, (run("02_train", ("epochs=1 images=128 tests=100 out='%s'"):format(out))))
    local status, text = run("02_train", ("epochs=2 images=128 tests=100 out='%s'"):format(out))
    assert.are.equal(0, status)
    assert(text:find("after 2 epochs"), text)
  end)

  it("sparse_width compares at a small size", function()
    if not there then return pending(missing) end
    local status, text, errors = run("sparse_width", "epochs=1 seeds=1 limit=128 tests=100")
    assert.are.equal(0, status, errors)
    assert(text:find("dense, width 1.0 +444285 +444285 "), text)
  end)

  it("fashion_mnist_best trains at a small size", function()
    if not there then return pending(missing) end
    local out = dir .. "/best"
    local small = "limit=256 tests=500 epochs=1 batch=64 out='%s'"
    local status, text, errors = run("fashion_mnist_best", small:format(out))
    assert.are.equal(0, status, errors)
    assert(text:find("\n579780 parameters, %d+%.%d M multiply%-adds an image; 256 images\n"), text)
    assert(text:find("\n +1 +[12]%.%d+ +%d+%.%d%d %% +%d+\n"), text) -- one epoch, of a loss that is a number
    local pattern = "test accuracy (%d+%.%d+) %% %(mean with the mirror image: (%d+%.%d+) %%%) on 500 images"
    local top1, both = text:match(pattern)
    assert(top1 and tonumber(top1) > 5 and tonumber(both) > 5, text)
    assert(help.read(out .. "/last.safetensors"))
  end)

  -- What npm would have fetched for emoji_folders: of each vendor 40 pictures 64x64 of ten categories, each of a colour
  -- of its own, and one that Twitter lacks.
  local function draw_packages(root)
    local list = {}
    for i = 0, 40 do
      list[i + 1] = { image = i .. ".png", category = "Kind & Number " .. i % 10, has_img_google = true,
        has_img_twitter = i < 40 }
    end
    for _, vendor in ipairs { "google", "twitter" } do
      local package = ("%s/npm/emoji-datasource-%s"):format(root, vendor)
      local folder = ("%s/img/%s/64"):format(package, vendor)
      assert(core.make_dir(folder))
      help.write(package .. "/emoji.json", json.encode(list))
      for i = 0, vendor == "google" and 40 or 39 do
        local pixels = core.zeros { 64, 64, 3, dtype = "uint8" }
        for channel = 1, 3 do pixels:narrow(3, channel, 1):fill_((i % 10 * 25 * channel + i) % 256) end
        assert(core.write_png(pixels, ("%s/%d.png"):format(folder, i)))
      end
    end
  end

  it("emoji_folders sorts what was fetched, and emoji_study compares on it", function()
    local root, out = dir .. "/emoji", dir .. "/emoji-runs"
    draw_packages(root)
    local status, text, errors = run("emoji_folders", ("out='%s'"):format(root))
    assert.are.equal(0, status, errors)
    assert(text:find("40 pictures of each vendor", 1, true) and not text:find("fetching"), text)
    for i = 0, 9 do assert(text:find(("%%f[%%d]4  kind%%-number%%-%d\n"):format(i)), text) end
    assert.are.equal(help.read(root .. "/npm/emoji-datasource-twitter/img/twitter/64/17.png"),
      help.read(root .. "/test/kind-number-7/17.png"))

    local words = ("root='%s' out='%s' epochs=1 seeds=1"):format(root, out)
    status, text, errors = run("emoji_study", words)
    assert.are.equal(0, status, errors)
    assert(text:find("40 drawings to train on, 40 to test on", 1, true), text)
    local function row(of, model) return of:match(("\n%s (.-) +%%d+\n"):format(model)):gsub(" +", " ") end
    for _, model in ipairs { "pelk", "dense7", "convnext" } do
      assert((row(text, model)):find("^ ?%d+ %d+%.%d M %d+%.%d%d %d+%.%d%d 0%.00$"), text)
      assert(help.read(("%s/%s-1/last.safetensors"):format(out, model)))
    end
    local before = help.read(out .. "/dense7-1/last.safetensors")
    local code, again = run("emoji_study", words .. " model=dense7") -- a run that is there is not made again
    assert.are.equal(0, code, again)
    assert.are.equal(before, help.read(out .. "/dense7-1/last.safetensors"))
    assert.are.equal((row(text, "dense7")), (row(again, "dense7")))
  end)

  it("emoji_study says where its pictures come from", function()
    local status, _, errors = run("emoji_study", ("root='%s/none'"):format(dir))
    assert.are.equal(1, status)
    assert(errors:find("No such file", 1, true) and errors:find("examples/emoji_folders.lua", 1, true), errors)
  end)
end)
