-- Shape bias counted by hand, accuracy under corruptions.

local pelk = require "pelk"
local core = require "pelk.core"
local robust = require "pelk.robust"
local nn = core.nn

local help = require "spec.help"
local json = require("pelk.json")
local raises = help.raises

-- A model whose logits are the first three values of the picture.
local function echo()
  return nn.Lambda(function(x) return x:flatten(2):narrow(2, 1, 4) end)
end

describe("shape bias", function()
  local classes = { cat = { 1 }, dog = { 2, 3 }, owl = { 4 } }
  local function pictures(...)
    local rows, cues = {}, {}
    for i, entry in ipairs { ... } do
      rows[i] = pelk.tensor(entry[1], { 2, 2, 1 })
      cues[i] = { entry[2], entry[3] }
    end
    return { x = rows, cues = cues }
  end

  it("counts what is decided for shape among shape and texture", function()
    local r = robust.shape_bias(echo(), pictures(
      { { 5, 0, 0, 0 }, "cat", "dog" }, -- shape
      { { 5, 0, 0, 0 }, "dog", "cat" }, -- texture
      { { 0, 0, 0, 5 }, "owl", "cat" }, -- shape
      { { 0, 0, 0, 5 }, "cat", "dog" }, -- neither
      { { 5, 0, 0, 0 }, "cat", "cat" }, -- one cue: left out
      { { 9, 0, 0, 0 }, "cat", "owl" } -- shape
    ), { classes = classes, progress = false })
    assert.equal(5, r.n)
    assert.same({ 3, 1, 1 }, { r.shape, r.texture, r.neither })
    assert.near(0.75, r.bias, 1e-12)
    assert.equal("cat", r.classes[1].name)
    assert.equal(1, r.classes[1].bias)
    assert.equal(0, r.classes[2].bias)
    assert.truthy(tostring(r):find("shape bias 75.0 %%"))
  end)

  it("averages probabilities over the classes that make up one", function()
    -- dog: (0.4 + 0.3) / 2 = 0.35 against cat 0.2, owl 0.1; and 0.45 alone loses against 0.5
    local function logits(...)
      local out = {}
      for i, p in ipairs { ... } do out[i] = math.log(p) end
      return out
    end
    local r = robust.shape_bias(echo(), pictures({ logits(0.36, 0.4, 0.14, 0.1), "cat", "dog" },
      { logits(0.2, 0.4, 0.3, 0.1), "cat", "dog" }), { classes = classes, progress = false })
    assert.same({ 1, 1 }, { r.shape, r.texture })
  end)

  it("reads cues from names", function()
    assert.same({ "cat", "elephant" }, { robust.cues("a/cat/cat7-elephant2.png") })
    assert.same({ "cat", "dog" }, { robust.cues("cat-dog.jpg") })
    assert.is_nil(robust.cues("cat7.png"))
  end)

  it("of a folder, whose names say the cues", function()
    local dir = help.folder()
    assert(core.make_dir(dir .. "/cat"))
    for i, name in ipairs { "cat/cat1-dog2.png", "cat/cat2-owl1.png", "cat/cat3-cat1.png" } do
      local t = core.picture(pelk.zeros { 2, 2, 3 }):fill_(0)
      t[1][1][i == 2 and 1 or 2]:fill_(255) -- the second is a cat, the first a dog
      assert(core.write_png(t, dir .. "/" .. name))
    end
    local r = assert(robust.shape_bias(echo(), dir, { classes = classes, progress = false }))
    assert.same({ 1, 1, 2 }, { r.shape, r.texture, r.n })
    help.write(dir .. "/map.json", json.encode(classes))
    r = assert(robust.shape_bias(echo(), dir, { classes = dir .. "/map.json", progress = false }))
    assert.same({ 1, 1, 2 }, { r.shape, r.texture, r.n })
    help.write(dir .. "/map.json", "{")
    help.refuses("map.json", robust.shape_bias(echo(), dir, { classes = dir .. "/map.json", progress = false }))
    help.write(dir .. "/cat/cat4-dog3.png", "broken")
    help.refuses("cat4", robust.shape_bias(echo(), dir, { classes = classes, progress = false }))
    help.remove(dir)
  end)

  it("refuses nonsense", function()
    local p = pictures({ { 5, 0, 0, 0 }, "cat", "dog" })
    raises("classes is required", robust.shape_bias, echo(), p)
    raises("lists 5, the model has 1..4", robust.shape_bias, echo(), p, { classes = { cat = { 5 }, dog = { 2 } },
      progress = false })
    raises("no class 'dog'", robust.shape_bias, echo(), p, { classes = { cat = { 1 } }, progress = false })
    raises("has no two cues", robust.shape_bias, echo(), { x = p.x, cues = {} }, { classes = classes,
      progress = false })
    raises("wants a folder", robust.shape_bias, echo(), 7, { classes = classes })
  end)
end)

describe("corruptions", function()
  it("are measured at all severities, the mean error by a baseline's too", function()
    pelk.manual_seed(4)
    -- bright or dark above: contrast does not change that, noise does little
    local x = pelk.zeros({ 40, 8, 8, 1 })
    local labels = {}
    for i = 1, 40 do
      labels[i] = i % 2 + 1
      x[i]:narrow(1, labels[i] == 1 and 1 or 5, 4):fill_(200)
    end
    local ds = pelk.data.tensors(pelk.zeros(x:shape(), { dtype = "uint8" }):copy_(x),
      pelk.tensor(labels, { 40 }, { dtype = "int32" }))
    local model = nn.Lambda(function(t)
      local above, below = t:narrow(2, 1, 4):mean(4):mean(3):mean(2), t:narrow(2, 5, 4):mean(4):mean(3):mean(2)
      return core.ops.concat(above:unsqueeze(2), below:unsqueeze(2), { dim = 2 })
    end)
    local r = robust.corruptions(model, ds, { progress = false, severities = { 1, 5 },
      baseline = { gaussian_noise = 10, gaussian_blur = 10, jpeg = 10, contrast = 10, pixelate = 10 } })
    assert.equal(100, r.clean)
    for _, kind in ipairs(r.kinds) do assert.same({ 100, [5] = 100 }, { r.top1[kind][1], [5] = r.top1[kind][5] }) end
    assert.near(0, r.error, 1e-9)
    assert.near(0, r.mce, 1e-9)
    -- a model that looks at one faint pixel fails under noise
    local fragile = nn.Lambda(function(t)
      local p = t:narrow(2, 1, 1):narrow(3, 1, 1):flatten(2)
      return core.ops.concat(p, p * 0 + 0.005, { dim = 2 })
    end)
    x:fill_(0)
    for i = 1, 40 do x[i][1][1]:fill_(labels[i] == 1 and 3 or 0) end
    ds = pelk.data.tensors(pelk.zeros(x:shape(), { dtype = "uint8" }):copy_(x), ds.y)
    r = robust.corruptions(fragile, ds, { progress = false, kinds = { "gaussian_noise" }, baseline = {
      gaussian_noise = 50 } })
    assert.equal(100, r.clean)
    assert.truthy(r.mean.gaussian_noise < 80)
    assert.near(2 * (100 - r.mean.gaussian_noise), r.mce, 1e-9)
    assert.truthy(tostring(r):find("gaussian_noise"))
    raises("baseline has no mean error", robust.corruptions, fragile, ds, { progress = false, severities = { 1 },
      kinds = { "jpeg" }, baseline = {} })
  end)
end)
