-- Weights into models: files of other programs under other names, heads of other classes, kernels of other sizes.

local pelk = require "pelk"
local core = require "pelk.core"

local help = require "spec.help"
local raises, refuses = help.raises, help.refuses
local nn = pelk.nn
local dir

setup(function() dir = help.folder() end)
teardown(function() help.remove(dir) end)

local small = {depths = {1, 1, 2, 1}, dims = {16, 24, 32, 40}, num_classes = 7, drop_path = 0}

local function make(name, overrides)
  local spec = pelk.models.spec(name)
  for k, v in pairs(small) do spec[k] = v end
  for k, v in pairs(overrides or {}) do spec[k] = v end
  return pelk.models.create(spec)
end

local function difference(a, b) return (a - b):abs():max():item() / b:abs():max():item() end

describe("released files", function()
  local python, expected = help.python "torch"
  setup(function()
    if not python then return print("skipped: python3-torch is not installed (weights under their authors' names)") end
    assert(os.execute(("%s spec/torch/official.py '%s'"):format(python, dir)))
    expected = assert(pelk.load(dir .. "/expected.npz"))
  end)

  local kernels = {13, 11, 9, 7}
  local known = {}
  for _, name in ipairs(pelk.models.list()) do known[name] = true end
  for _, case in ipairs {
    {"convnext", "convnext_tiny", nil, "names of convnext"},
    {"slak", "slak_tiny", {kernels = kernels}, "names of slak"},
    {"slak_dense", "slak_tiny_dense", {kernels = kernels}, "names of slak"},
    {"replknet", "replknet_31b", {kernels = kernels}, ""},
    {"inception_next", "inception_next_tiny", nil, ""},
  } do
    local file, name, overrides, account = table.unpack(case)
    if known[name] then
      it("of " .. file .. " are recognised, bare and wrapped, and compute the same", function()
        if not python then return pending("python3-torch is not installed") end
        local m = make(name, overrides):eval()
        local ok, said = m:load(dir .. "/" .. file .. ".pth")
        assert(ok, said)
        assert.equal(account, said)
        local y = m(expected.x)
        assert.truthy(difference(y, expected[file]) < 1e-4)
        local again = make(name, overrides):eval()
        ok, said = again:load(dir .. "/" .. file .. "_wrapped.pth")
        assert(ok, said)
        assert.truthy(said:find("behind 'module.backbone.'", 1, true), said)
        assert.is_true(again(expected.x):equal(y))
        assert.is_true(again:save(dir .. "/own.safetensors"))
        local third = make(name, overrides):eval()
        assert.same({true, ""}, {third:load(dir .. "/own.safetensors")})
        assert.is_true(third(expected.x):equal(y))
      end)
    end
  end

  it("in half precision compute nearly the same", function()
    if not python then return pending("python3-torch is not installed") end
    local m = make("convnext_tiny"):eval()
    assert(m:load(dir .. "/convnext_half.pth"))
    local d = difference(m(expected.x), expected.convnext)
    assert.truthy(d > 0 and d < 2e-2, d)
  end)

  it("that are another model's say so in one message, and change nothing", function()
    if not python then return pending("python3-torch is not installed") end
    local m = make("convnext_tiny")
    local before = m.stem[1].weight:clone()
    refuses("convnext.pth: the weights do not fit this model. missing: stem.0.weight, .* and 57 more %(65 in all%); "
      .. "unexpected: weight, bias", m:load(dir .. "/convnext.pth", {source = "slak", prefix = "head"}))
    local other = make("convnext_tiny", {dims = {16, 24, 32, 48}})
    local _, message = other:load(dir .. "/convnext.pth")
    assert.truthy(message:find("other shape: stages.3.downsample.1.weight is {40,32,2,2}, the model has {48,32,2,2}", 1,
      true), message)
    assert.is_true(m.stem[1].weight:equal(before))
  end)
end)

describe("names", function()
  it("of the authors become ours", function()
    local m = make("convnext_tiny")
    local state = {}
    for name, t in pairs(m:state_dict()) do
      name = name:gsub("^stem%.(%d)", "downsample_layers.0.%1")
        :gsub("^stages%.(%d)%.downsample", "downsample_layers.%1")
        :gsub("^stages%.(%d)%.blocks%.", "stages.%1."):gsub("conv_dw", "dwconv"):gsub("mlp%.fc", "pwconv")
        :gsub("^head%.norm", "norm"):gsub("^head%.fc", "head")
      state[name] = t * 2
    end
    assert.truthy(state["stages.2.1.pwconv2.bias"] and state["downsample_layers.3.1.weight"] and state["head.bias"])
    local before = m.head.fc.weight:clone()
    local ok, said = m:load_state_dict(state)
    assert.is_true(ok)
    assert.equal("names of convnext", said)
    assert.is_true(m.head.fc.weight:equal(before * 2))
    raises("'timm' are not known; there are: convnext, slak", m.load_state_dict, m, state, {source = "timm"})
    raises("did you mean 'prefix'", m.load_state_dict, m, state, {prefx = "x"})
  end)

  it("behind a prefix are found, or taken as told", function()
    local m, wrapped, mixed = make("convnext_tiny"), {}, {other = pelk.ones {1}}
    for name, t in pairs(m:state_dict()) do
      wrapped["module." .. name] = t
      mixed["net.body." .. name] = t
    end
    assert.same({true, "names of pelk behind 'module.'"}, {m:load_state_dict(wrapped)})
    raises("unexpected: net.body", m.load_state_dict, m, mixed)
    assert.same({true, "names of pelk behind 'net.body.'"}, {m:load_state_dict(mixed, {prefix = "net.body"})})
    assert.same({true, "names of pelk behind 'net.body.'"}, {m:load_state_dict(mixed, {prefix = "net.body."})})
  end)

  it("of 1x1 convolutions fit linear layers, scales of one pixel fit scales", function()
    local m, state = make("convnext_tiny"), {}
    for name, t in pairs(m:state_dict()) do
      if name:find "mlp.*weight" or name == "head.fc.weight" then
        t = t:reshape {t:size(1), t:size(2), 1, 1}
      elseif name:find "gamma" then
        t = (t + 1):reshape {t:size(1), 1, 1}
      end
      state[name] = t
    end
    assert.same({true, ""}, {m:load_state_dict(state)})
    assert.near(1, m.stages[1].blocks[1].gamma[1]:item(), 1e-5)
    state["head.fc.weight"] = pelk.ones {7, 20, 2, 1}
    raises("head.fc.weight is {7,20,2,1}, the model has {7,40}", m.load_state_dict, m, state)
  end)
end)

describe("a head of other classes", function()
  it("is made anew when asked, and only then", function()
    local m, other = make("convnext_tiny", {head_init_scale = 0.1}), make("convnext_tiny", {num_classes = 5})
    local path = dir .. "/head.safetensors"
    assert(other:save(path))
    pelk.no_grad(function() m.head.fc.bias:fill_(3) end)
    local ok, message = m:load(path)
    refuses("head.fc.weight is {5,40}, the model has {7,40}, head.fc.bias is {5}, the model has {7}", ok, message)
    refuses("head = \"reset\"", ok, message)
    assert.same({true, "made anew: head.fc.weight, head.fc.bias"}, {m:load(path, {head = "reset"})})
    assert.same({0, 0, 0, 0, 0, 0, 0}, m.head.fc.bias:flat())
    local w = m.head.fc.weight
    local deviation = (w * w):mean():item() ^ 0.5
    assert.truthy(deviation > 0.0016 and deviation < 0.0024, deviation)
    assert.is_true(m.head.norm.weight:equal(other.head.norm.weight))
    raises("head", m.load, m, path, {head = "remake"})
  end)

  it("keeps its width all the same", function()
    local m, other = make("convnext_tiny"), make("convnext_tiny", {dims = {16, 24, 32, 48}, num_classes = 5})
    local path = dir .. "/wide.safetensors"
    assert(other:save(path))
    local _, message = m:load(path, {head = "reset"})
    assert.is_nil(message:find "made anew")
    assert.truthy(message:find "stages.3.downsample.1.weight is {48,32,2,2}", message)
  end)
end)

describe("kernels of another size", function()
  local function layer(kernel, o)
    local options = {channels = 3, kernel = kernel, position_mode = "off"}
    for k, v in pairs(o or {}) do options[k] = v end
    return nn.PeripheralConv(options)
  end

  it("are an error unless asked", function()
    local from, to = nn.DepthwiseConv {channels = 3, kernel = 7}, nn.DepthwiseConv {channels = 3, kernel = 11}
    local path = dir .. "/dense.safetensors"
    assert(from:save(path))
    local ok, message = to:load(path)
    refuses("weight is {3,1,7,7}, the model has {3,1,11,11}", ok, message)
    refuses("resize = true", ok, message)
  end)

  it("dense and larger, centred, compute the same", function()
    local from, to = nn.DepthwiseConv {channels = 3, kernel = 7}, nn.DepthwiseConv {channels = 3, kernel = 11}
    assert.same({true, "resized: 1 kernels and maps"}, {to:load_state_dict(from:state_dict(), {resize = true})})
    local x = pelk.randn {2, 9, 12, 3}
    assert.truthy(difference(to(x), from(x)) < 1e-6)
    local smaller = nn.DepthwiseConv {channels = 3, kernel = 3}
    smaller:load_state_dict(from:state_dict(), {resize = "pad"})
    assert.is_true(smaller.weight:equal(from.weight:narrow(1, 3, 3):narrow(2, 3, 3)))
  end)

  it("stretched keep their sum, and a constant stays one", function()
    for _, sizes in ipairs {{7, 13}, {13, 7}, {5, 51}} do
      local from = nn.DepthwiseConv {channels = 2, kernel = sizes[1]}
      local to = nn.DepthwiseConv {channels = 2, kernel = sizes[2]}
      pelk.no_grad(function() from.weight:fill_(1) end)
      to:load_state_dict(from:state_dict(), {resize = "scale"})
      local want = (sizes[1] / sizes[2]) ^ 2
      assert.truthy((to.weight - want):abs():max():item() < 1e-6)
    end
    -- one row by hand: 3 taps to 6, linear between the centres, over the ratio 2
    local from, to = nn.DepthwiseConv {channels = 1, kernel = {1, 3}}, nn.DepthwiseConv {channels = 1, kernel = {1, 6}}
    pelk.no_grad(function() from.weight:copy_(pelk.tensor({0, 4, 8}, {1, 3, 1})) end)
    to:load_state_dict(from:state_dict(), {resize = "scale"})
    local got = to.weight:flat()
    for i, want in ipairs {0, 0.5, 1.5, 2.5, 3.5, 4} do assert.near(want, got[i], 1e-6) end
  end)

  it("shared on the same grid but for its end compute the same where the bands coincide", function()
    -- 9 and 17 with radius 2 are exact: 2 1 1 1 1 1 2 is the middle of 4 2 1 1 1 1 1 2 4 ... up to its edge
    local from, to = layer(9), layer(17)
    assert.same({2, 1, 1, 1, 1, 1, 2}, {table.unpack(pelk.grid(9, {radius = 2}))})
    local path = dir .. "/shared.safetensors"
    assert(from:save(path))
    refuses("weight is {3,1,7,7}, the model has {3,1,9,9}", to:load(path))
    assert(to:load(path, {resize = true}))
    local x = pelk.randn {1, 20, 20, 3}
    assert.truthy(difference(to(x), from(x)) < 1e-6)
  end)

  it("shared are projected: each weight the mean of the dense kernel over its rectangle", function()
    local from, to = layer(31), layer(51)
    local path = dir .. "/shared31.safetensors"
    assert(from:save(path))
    assert(to:load(path, {resize = true}))
    local S, dense = pelk.grid(51), pelk.expand_kernel(from.weight:detach(), pelk.grid(31)) -- {31,31,3}
    local padded = pelk.zeros {51, 51, 3}
    padded:narrow(1, 11, 31):narrow(2, 11, 31):copy_(dense)
    local y = 1
    for i, rows in ipairs(S) do
      local x = 1
      for j, cols in ipairs(S) do
        local mean = padded:narrow(1, y, rows):narrow(2, x, cols):mean(1):mean(1)
        assert.truthy((to.weight[i][j] - mean):abs():max():item() < 1e-6)
        x = x + cols
      end
      y = y + rows
    end
    local sum = pelk.expand_kernel(to.weight:detach(), S):sum():item()
    assert.near(dense:sum():item(), sum, 1e-4)
  end)

  it("dense ones fit a shared grid, by their size", function()
    local from, to = nn.DepthwiseConv {channels = 3, kernel = 13, bias = false}, layer(13)
    assert(to:load_state_dict(from:state_dict(), {resize = true}))
    local S = pelk.grid(13)
    assert.near(from.weight[7][7][1]:item(), to.weight[5][5][1]:item(), 1e-6)
    assert.near(from.weight:sum():item(), pelk.expand_kernel(to.weight:detach(), S):sum():item(), 1e-5)
  end)

  it("as wide but on another grid are an error by the file's note", function()
    local from, to = layer(37), layer(51) -- both 13 x 13 weights
    local path = dir .. "/grid.safetensors"
    assert(from:save(path))
    assert.equal("2,8,4,2,1,1,1,1,1,2,4,8,2", select(2, pelk.load(path))["pelk.grid.weight"])
    refuses("weight lies on another grid than the model's", to:load(path))
    local within = dir .. "/within.safetensors"
    assert(nn.Sequential {from}:save(within)) -- the note is of "0.weight", and found under every prefix
    refuses("weight lies on another grid than the model's", to:load(within))
    refuses("weight lies on another grid than the model's", to:load(within, {prefix = "0"}))
    refuses("weight lies on another grid than the model's", nn.Sequential {to}:load(within))
    local same = to.weight:clone()
    assert(to:load(path, {resize = true}))
    assert.is_false(to.weight:equal(same))
    assert.same({true, ""}, {layer(37):load(path)})
    local tensors = pelk.load(path)
    core.save_tensors(path, tensors, {["pelk.grid.weight"] = "rubbish"})
    assert.same({true, ""}, {to:load(path)})
  end)

  it("of a whole model, with its position maps, 224 to 384", function()
    local from = make("pelk_tiny", {kernels = {31, 29, 27, 13}, position_shape = "channel"})
    local to = make("pelk_tiny", {kernels = {51, 49, 47, 13}, position_shape = "channel"})
    local path = dir .. "/224.safetensors"
    assert(from:save(path))
    refuses("stages.0.position is", to:load(path))
    local ok, said = to:load(path, {resize = true})
    assert(ok, said)
    assert.truthy(said:find("resized: %d+ kernels and maps"), said)
    local a, b = from:state_dict()["stages.0.position"], to:state_dict()["stages.0.position"]
    assert.is_true(b:narrow(2, 11, 31):narrow(3, 11, 31):equal(a))
    assert.equal(0, b:narrow(2, 1, 10):abs():max():item())
    -- without notes the position map tells the size of the kernel
    local tensors = pelk.load(path)
    local other = make("pelk_tiny", {kernels = {51, 49, 47, 13}, position_shape = "channel"})
    assert(other:load_state_dict(tensors, {resize = true}))
    assert.is_true(other.stages[1].blocks[1].conv_dw.large.conv.weight:equal(
      to.stages[1].blocks[1].conv_dw.large.conv.weight))
    assert(to:load(path, {resize = "scale"}))
  end)
end)

describe("named tensors", function()
  it("keep their order and print", function()
    local m = make("convnext_tiny")
    local order = {}
    for name in pairs(m:state_dict()) do order[#order + 1] = name end
    assert.equal("stem.0.weight", order[1])
    assert.equal("head.fc.bias", order[#order])
    assert.equal("stem.0.weight", tostring(m:state_dict()):match "^%S+")
    local d = assert(pelk.load "spec/golden/tiny.pth")
    assert.equal("w    = {2,3} float32\nwt   = {3,2} float32\nhalf = {2} float32", tostring(d))
  end)
end)

describe("a state", function()
  it("with one more entry is saved in its order, and loaded where not all must fit", function()
    local m = pelk.nn.Sequential(pelk.nn.Linear(3, 4), pelk.nn.LayerNorm(4), pelk.nn.Linear(4, 2))
    local state = m:state_dict()
    state.extra = pelk.ones { 2 }
    local path = os.tmpname() .. ".safetensors"
    assert.is_true(pelk.save(path, state))
    assert.equal(2, assert(pelk.load(path)).extra:sum():item())
    os.remove(path)
    assert.is_true((m:load_state_dict(state, { strict = false })))
    help.raises("key and opaque are options of load", m.load_state_dict, m, state, { key = "model" })
  end)
end)

describe("a model's file", function()
  it("may be .npz", function()
    local m, again = make("convnext_tiny"), make("convnext_tiny")
    assert.is_true(m:save(dir .. "/m.npz"))
    assert.same({true, ""}, {again:load(dir .. "/m.npz")})
    assert.is_true(again.head.fc.weight:equal(m.head.fc.weight))
  end)

  it("is mapped while it is loaded: no second copy", function()
    local m = make("convnext_tiny", {dims = {64, 128, 256, 512}})
    local path = dir .. "/large.safetensors"
    assert(m:save(path))
    local again = make("convnext_tiny", {dims = {64, 128, 256, 512}})
    collectgarbage()
    collectgarbage()
    core.reset_peak()
    local before = core.memory().peak
    assert(again:load(path))
    assert.truthy(core.memory().peak - before < 1 << 20)
    assert.is_true(again.head.fc.weight:equal(m.head.fc.weight))
    local mapped = assert(pelk.load(path, {map = true}))
    mapped["head.fc.weight"]:fill_(1) -- private
    assert.is_true(assert(pelk.load(path))["head.fc.weight"]:equal(m.head.fc.weight))
  end)
end)
