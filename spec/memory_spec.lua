-- Memory: the collector hears of tensors, nothing leaks, and every failing allocation is a clean error.

local pelk = require "pelk"

local page = 4096

local function resident()
  local f <close> = assert(io.open("/proc/self/statm"))
  local _, pages = f:read("n", "n")
  return pages * page
end

local function live()
  collectgarbage()
  collectgarbage()
  return pelk.memory().live
end

describe("temporaries", function()
  it("do not pile up", function()
    local first, most = resident(), 0
    for i = 1, 400 do
      local t = pelk.zeros(1024, 1024)
      assert.equal(1, t:size(1) // 1024)
      if i % 10 == 0 then most = math.max(most, resident()) end
    end
    assert.is_true(most - first < 100e6, ("grew by %.0f MB"):format((most - first) / 1e6))
  end)

  it("do not pile up inside graphs", function()
    local first, most = resident(), 0
    local w = pelk.ones(256, 256):requires_grad_()
    local x = pelk.rand(1024, 256)
    for i = 1, 100 do
      local y = x
      for _ = 1, 8 do y = pelk.ops.gelu(pelk.ops.linear(y, w)) * 0.01 end
      if i % 10 == 0 then most = math.max(most, resident()) end
    end
    assert.is_true(most - first < 250e6, ("grew by %.0f MB"):format((most - first) / 1e6))
  end)

  it("respect a stopped collector", function()
    collectgarbage("stop")
    local before = collectgarbage("count")
    local kept = setmetatable({}, {__mode = "k"})
    for _ = 1, 20 do kept[pelk.zeros(256, 256)] = true end
    local n = 0
    for _ in pairs(kept) do n = n + 1 end
    collectgarbage("restart")
    assert.equal(20, n)
    assert.is_number(before)
  end)
end)

describe("accounting", function()
  it("returns to where it was", function()
    local before = live()
    do
      local x = pelk.randn(100, 100):requires_grad_()
      local y = (x * x + 1):sqrt():sum()
      y:backward()
    end
    assert.equal(before, live())
  end)

  it("free gives memory back at once", function()
    local before = live()
    local t = pelk.zeros(1000, 1000)
    assert.is_true(pelk.memory().live >= before + 4e6)
    t:free()
    assert.is_true(pelk.memory().live < before + 1e5)
  end)

  it("peak starts anew", function()
    pelk.zeros(1000, 1000):free()
    pelk.reset_peak()
    local m = pelk.memory()
    assert.is_true(m.peak <= m.live + 1e5)
    pelk.zeros(1000, 1000):free()
    assert.is_true(pelk.memory().peak >= m.live + 4e6)
  end)

  it("errors leak nothing", function()
    local x = pelk.ones(3)
    local function wrong()
      pcall(pelk.tensor, {{1, 2}, {3}})
      pcall(pelk.ops.linear, x, x)
      pcall(pelk.zeros, {2}, {dtype = "x"})
      pcall(function() return x + pelk.ones(4) end)
      pcall(x.copy_, x, pelk.ones(5))
      pcall(function() return x[{1, 2}] end)
      pcall(pelk.nn.Linear, 2, -1)
      pcall(function() pelk.nn.Sequential(pelk.nn.Linear(2, 2), 5) end)
      pcall(function() pelk.nn.Sequential(function() error {} end)(x) end)
    end
    wrong()
    local before = live()
    for _ = 1, 50 do wrong() end
    assert.equal(before, live())
  end)
end)

-- Run work() with the n-th allocation failing, for every n until it gets through, once and for good.
local function starve(work)
  work()
  local before = live()
  local failures = 0
  for _, persist in ipairs {false, true} do
    for n = 1, 10000 do
      pelk._fail_alloc(n, persist)
      local ok, message = pcall(work)
      local asked = pelk._alloc_count()
      pelk._fail_alloc(0)
      if not ok then
        failures = failures + 1
        assert.truthy(tostring(message):find("memory"), message)
      end
      assert.equal(before, live(), ("allocation %d leaked"):format(n))
      if ok and asked < n then break end
    end
  end
  return failures
end

describe("failing allocations", function()
  it("tensors and graphs", function()
    assert.is_true(starve(function()
      local x = pelk.tensor {{1, 2}, {3, 4}}:requires_grad_()
      local y = ((x * 2 + x:transpose()) ^ 2):sum()
      y:backward()
      local z = x.grad[{1, {1, 2}}]:clone()
      z[1] = 3
      assert(z:tolist()[1] == 3)
    end) > 5)
  end)

  it("modules", function()
    assert.is_true(starve(function()
      local m = pelk.nn.Sequential(pelk.nn.Linear(3, 4), function(x) return x * 2 end)
      m:add(pelk.nn.Linear(4, 2), "last")
      local y = m(pelk.ones(2, 3))
      y:sum():backward()
      m:load_state_dict(m:state_dict())
      local c = pelk.nn.Linear(2, 2):clone()
      assert(#c:parameters() == 2)
    end) > 5)
  end)

  it("leave everything usable", function()
    local x = pelk.ones(4)
    pelk._fail_alloc(1, true)
    local ok = pcall(pelk.zeros, 1000)
    pelk._fail_alloc(0)
    assert.is_false(ok)
    assert.equal(4, x:sum():item())
  end)
end)
