-- Modules from Lua: constructors, containers, functions as layers, the tree and its names, state, training mode.

local pelk = require "pelk"
local nn = require "pelk.core".nn

local raises = require("spec.help").raises

local function close(a, b)
  local ok, worst = a:allclose(b, {rtol = 1e-4, atol = 1e-5})
  assert.is_true(ok, "largest difference " .. worst)
end

describe("constructors", function()
  it("take options by place, by name, or both", function()
    local a = nn.Linear(3, 4)
    assert.equal("Linear", a:class())
    assert.same({in_features = 3, out_features = 4, bias = true}, a:options())
    assert.same(a:options(), nn.Linear {in_features = 3, out_features = 4}:options())
    assert.is_false(nn.Linear(3, 4, {bias = false}):options().bias)
    assert.is_false(nn.Linear(3, 4, false):options().bias)
    assert.equal(1, #nn.Linear(3, 4, false):parameters())
  end)

  it("read what they printed", function()
    local a = nn.Conv2d(3, 8, {kernel = {3, 5}, padding = "same"})
    assert.same(a:options(), nn.Conv2d(a:options()):options())
  end)

  it("check", function()
    raises("Linear: option 'out_features' is required", nn.Linear, 3)
    raises("did you mean 'in_features'", nn.Linear, {in_feature = 3})
    raises("Linear: unknown option 'zzzz' %(there are in_features", nn.Linear, {zzzz = 3})
    raises("in_features", nn.Linear, 0, 4)
    raises("in_features wants an integer, got 'x'", nn.Linear, "x", 4)
    raises("one too many", nn.Linear, 1, 2, true, 4)
    raises("in_features", nn.Linear, nn.Linear(1, 1), 4)
  end)

  it("are listed", function()
    local names = {}
    for _, class in ipairs(nn.list()) do
      names[class.name] = class
      assert.is_function(nn[class.name])
      assert.is_true(#class.doc > 0, class.name .. " has no doc")
    end
    assert.is_true(names.Sequential.container)
    assert.equal("in_features", names.Linear.options[1].name)
  end)
end)

describe("containers", function()
  local x = pelk.randn(5, 3)
  local a, b = nn.Linear(3, 4), nn.Linear(4, 2)

  it("take children in a list, a table, or by add", function()
    local y = b(a(x))
    close(y, nn.Sequential(a, b)(x))
    close(y, nn.Sequential {a, b}(x))
    close(y, nn.Sequential():add(a):add(b):forward(x))
    local named = nn.Sequential():add(a, "first"):add("second", b)
    close(y, named(x))
    assert.is_true(named:get("second") == b)
    assert.is_true(named.first == a)
  end)

  it("join and add", function()
    local c = nn.Concat {nn.Linear(3, 1), nn.Linear(3, 2), dim = -1}
    assert.same({5, 3}, c(x):shape())
    close(nn.Residual(function(t) return t * 2 end)(x), x * 3)
    close(nn.Parallel(function(t) return t end, function(t) return t * 0 end)(pelk.ones(2, 4)),
      pelk.tensor {{1, 1, 0, 0}, {1, 1, 0, 0}})
    local halves = nn.Parallel {function(t) return t end, function(t) return t * 0 end, dim = -2}
    close(halves(pelk.ones(1, 2, 2, 1)), pelk.tensor({1, 0, 1, 0}, {1, 2, 2, 1}))
  end)

  it("run the children that they had when they began", function()
    for _, kind in ipairs {"Concat", "Parallel"} do
      local c = nn[kind]()
      c:add(function(t)
        for _ = 1, 100 do c:add(nn.Identity()) end
        return t
      end)
      assert.same({2, 3}, c(pelk.ones(2, 3)):shape())
      raises("has 101 children, wants 1 to", c, pelk.ones(2, 3))
    end
  end)

  it("refuse what is no layer, and themselves", function()
    local s = nn.Sequential()
    raises("module or a function, got 5", nn.Sequential, {5})
    raises("got nil", s.add, s, nil)
    raises("part of itself", s.add, s, s)
    raises("part of itself", function() nn.Sequential(nn.Sequential(s)):get(1):get(1):add(nn.Sequential(s)) end)
    raises("takes no children", a.add, a, b)
    raises("already", function() nn.Sequential():add(a, "x"):add(b, "x") end)
    raises("unknown option 'conv'", nn.Sequential, {conv = a})
    local deep = nn.Sequential()
    raises("nested deeper", function() for _ = 1, 100 do deep = nn.Sequential(deep) end end)
  end)

  it("stay usable when built downward too deep", function()
    local root = nn.Sequential()
    local at = root
    for _ = 1, 1000 do
      local below = nn.Sequential()
      at:add(below)
      at = below
    end
    raises("forward: modules are nested deeper", root, x)
    raises("clone: modules are nested deeper", root.clone, root)
    raises("nested deeper", root.named_parameters, root)
    assert.is_string(tostring(root))
    root:eval()
  end)

  it("bear many children", function()
    local s = nn.Sequential()
    for _ = 1, 500 do s:add(nn.Linear(2, 2)) end
    assert.equal(500, #s)
    assert.same({1, 2}, s(pelk.ones(1, 2)):shape())
  end)
end)

describe("functions as layers", function()
  local x = pelk.ones(2, 3)

  it("run where they stand, with gradients", function()
    local l = nn.Linear(3, 3)
    local m = nn.Sequential(l, function(t) return t * 2 end, pelk.ops.relu)
    local y = m(x)
    close(y, pelk.ops.relu(l(x) * 2))
    y:sum():backward()
    assert.same({3, 3}, l.weight.grad:shape())
    assert.equal("Lambda", nn.Lambda(function(t) return t end):class())
  end)

  it("keep the messages of errors, and the path", function()
    local m = nn.Sequential(nn.Sequential(function() error("told you so") end))
    raises("^0%.0: .*told you so", m, x)
    raises("returns a tensor, got 3", nn.Sequential(function() return 3 end), x)
    raises("returns a tensor, got nil", nn.Sequential(function() end), x)
    local thrown = setmetatable({}, {__tostring = function() return "thrown" end})
    raises("thrown", nn.Sequential(function() error(thrown) end), x)
    raises("linear: w has shape", nn.Sequential(nn.Linear(3, 2), function(t) return nn.Linear(4, 2)(t) end), x)
    local fine = nn.Sequential(function(t) return t end)
    close(x, fine(x))
  end)

  it("may be callable tables", function()
    local double = setmetatable({}, {__call = function(_, t) return t * 2 end})
    close(nn.Lambda(double)(x), x * 2)
    raises("returned a tensor that was freed", nn.Lambda(function(t)
      local y = t * 1
      y:free()
      return y
    end), x)
    raises("function expected", nn.Lambda, 3)
    raises("function expected", nn.Lambda)
  end)

  it("run in coroutines", function()
    local m = nn.Sequential(function(t) return t + 1 end)
    local co = coroutine.wrap(function(t)
      local y = m(t)
      coroutine.yield(y)
      return m(y)
    end)
    close(co(x), x + 1)
    close(co(), x + 2)
    local yielding = nn.Lambda(function(t) coroutine.yield() return t end)
    raises("yield", coroutine.wrap(function() yielding(x) end))
  end)

  it("are let go with their module", function()
    local seen = setmetatable({}, {__mode = "k"})
    do
      local f = function(t) return t end
      seen[f] = true
      nn.Sequential(f)(x)
    end
    collectgarbage()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(seen))
  end)

  it("may free what they run in", function()
    local m
    m = nn.Sequential(function(t)
      m:free()
      collectgarbage()
      return t + 1
    end)
    close(m(x), x + 1)
    raises("freed", m.forward, m, x)
  end)
end)

describe("the tree", function()
  local m = nn.Sequential()
    :add(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), "stem")
    :add(nn.Linear(4, 2, {bias = false}), "head")

  it("is reached by path or number", function()
    assert.equal("LayerNorm", m:get("stem.1"):class())
    assert.equal("Linear", m:get(2):class())
    assert.equal("Linear", m:get(-1):class())
    assert.same({4, 3}, m:get("stem.0.weight"):shape())
    assert.is_true(m:get("") == m)
    assert.is_true(m.stem == m[1])
    assert.is_nil(m[3])
    assert.is_nil(m.nothing)
    assert.equal(2, #m)
    raises("no part 'stem.7'", m.get, m, "stem.7")
    raises("child 3 is not in 1..2", m.get, m, 3)
  end)

  it("names its parameters", function()
    local names = {}
    for name, p in m:named_parameters() do
      names[#names + 1] = name
      assert.is_true(p.requires_grad)
    end
    assert.same({"stem.0.weight", "stem.0.bias", "stem.1.weight", "stem.1.bias", "head.weight"}, names)
    local list = m:named_parameters()
    assert.equal(5, #list)
    assert.equal("head.weight", list[5].name)
    assert.same({2, 4}, list[5].tensor:shape())
    assert.equal(5, #m:parameters())
    assert.is_true(m:parameters()[5] == list[5].tensor)
    assert.truthy(tostring(list):find("stem.0.bias  {4}", 1, true))
    local pairs_seen = 0
    for _ in list do
      pairs_seen = pairs_seen + 1
      for _ in list do pairs_seen = pairs_seen + 1 end
    end
    assert.equal(30, pairs_seen)
  end)

  it("lists children and modules", function()
    local names = {}
    for name, child in m:children() do names[#names + 1] = name .. ":" .. child:class() end
    assert.same({"stem:Sequential", "head:Linear"}, names)
    local paths = {}
    for path in m:modules() do paths[#paths + 1] = path end
    assert.same({"", "stem", "stem.0", "stem.1", "head"}, paths)
  end)

  it("applies a function, children first", function()
    local seen = {}
    assert.equal(m, m:apply(function(module, path) seen[#seen + 1] = path .. ":" .. module:class() end))
    assert.equal(5, #seen)
    assert.equal(":Sequential", seen[5])
    raises("inside", m.apply, m, function() error("inside") end)
    raises("function expected", m.apply, m, 1)
  end)

  it("prints as a tree", function()
    assert.equal([[
Sequential(
  (stem): Sequential(
    (0): Linear(3 -> 4)
    (1): LayerNorm(4)
  )
  (head): Linear(4 -> 2, no bias)
)]], (tostring(m):gsub("LayerNorm%b()", "LayerNorm(4)"):gsub("4 %-> 2[^)]*", "4 -> 2, no bias")))
  end)

  it("knows training and evaluation", function()
    assert.is_true(m.training)
    assert.equal(m, m:eval())
    assert.is_false(m:get("stem.1").training)
    m:train()
    assert.is_true(m:get("stem.1").training)
    m:train(false)
    assert.is_false(m.training)
    m:train()
  end)

  it("freezes by pattern", function()
    local _, n = m:freeze("^stem%.")
    assert.equal(4, n)
    assert.is_false(m:get("stem.0.weight").requires_grad)
    assert.is_true(m:get("head.weight").requires_grad)
    m:unfreeze()
    assert.is_true(m:get("stem.0.weight").requires_grad)
    raises("no parameter's name matches 'tail'", m.freeze, m, "tail")
    raises("malformed", m.freeze, m, "[")
  end)

  it("clones deeply", function()
    local c = m:clone()
    local x = pelk.randn(2, 3)
    close(m(x), c(x))
    pelk.no_grad(function() c:get("head.weight"):fill_(0) end)
    assert.is_false((m(x):allclose(c(x))))
    raises("function", function() nn.Sequential(function(t) return t end):clone() end)
  end)
end)

describe("every layer", function()
  it("is made of the options that are required, and prints", function()
    local values = { channels = 16, in_channels = 16, out_channels = 16, in_features = 16, out_features = 16,
      hidden = 32, num_classes = 10 }
    for _, class in ipairs(pelk.nn.list()) do
      local given = {}
      for _, option in ipairs(class.options) do
        if option.required then given[option.name] = assert(values[option.name], option.name) end
      end
      if class.name == "Model" then given.depths, given.dims = { 1 }, { 16 } end
      if class.name ~= "Lambda" then assert.equal(class.name, nn[class.name](given):class()) end
      assert.truthy(tostring(class):find(class.name .. "(", 1, true))
    end
  end)
end)

describe("summaries", function()
  it("survive functions that change the tree, in coroutines too", function()
    local m
    m = nn.Sequential(function(t)
      m:add(nn.Linear(3, 3))
      return t
    end, nn.Linear(3, 3))
    m[2]:eval()
    local s = coroutine.wrap(function() return m:summary({ image_size = 2 }) end)()
    assert.truthy(tostring(s):find("Linear"))
    assert.is_true(m.training)
    assert.is_false(m[2].training)
    m = nn.Sequential(function(t)
      m:free()
      collectgarbage()
      return t
    end, nn.Linear(3, 3))
    assert.truthy(tostring(m:summary({ image_size = 2 })):find("Linear"))
  end)
end)

describe("what prints", function()
  it("is readable", function()
    local m = nn.Linear(2, 3)
    assert.equal("{3,2} float32, requires_grad\n{3} float32, requires_grad", tostring(m:parameters()))
    assert.equal("weight = {3,2} float32\nbias   = {3} float32", tostring(m:state_dict()))
    assert.equal("{2, 1, 1, 1, 1, 1, 2}", tostring(pelk.grid(9)))
    assert.equal("Linear({in_features=, out_features=, bias=true})", tostring(pelk.nn.list("^Linear$")))
    assert.truthy(tostring(pelk.nn):find("^pelk.nn: .* Linear "))
    for _, part in ipairs({ "ops", "data", "optim", "viz" }) do
      assert.truthy(tostring(pelk[part]):find("pelk." .. part .. ": ", 1, true))
    end
    assert.truthy(tostring(pelk.config()):find("threads  = %d"))
    assert.truthy(tostring(pelk.memory()):find("live"))
  end)
end)

describe("state", function()
  it("goes from one model to another", function()
    local function make() return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4)) end
    local a, b = make(), make()
    local x = pelk.randn(8, 3)
    a(x)
    assert.equal(2, #a:buffers())
    assert(b:load_state_dict(a:state_dict()))
    a:eval()
    b:eval()
    close(a(x), b(x))
  end)
end)

describe("lifetime", function()
  it("frees once and for all; parts live on", function()
    local m = nn.Sequential(nn.Linear(2, 2))
    local l, w = m[1], m:get("0.weight")
    m:free()
    m:free()
    raises("pelk.Module was freed", function() return m:parameters() end)
    assert.equal("pelk.Module (freed)", tostring(m))
    assert.same({1, 2}, l(pelk.ones(1, 2)):shape())
    assert.same({2, 2}, w:shape())
  end)
end)
