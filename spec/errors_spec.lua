-- Every function and method with hostile arguments in every place: a Lua error with words in it, or a result; never a
-- crash, never an argument that is not named.

local lfs = require "lfs" -- busted brings it

local pelk = require "pelk"
local core = require "pelk.core"
local help = require "spec.help"

local tensor_mt = debug.getmetatable(pelk.zeros(1))
local module_mt = debug.getmetatable(core.nn.Linear(1, 1))

local function freed(object)
  object:free()
  return object
end

local function closed_file()
  local f = assert(io.tmpfile())
  f:close()
  return f
end

local function cyclic()
  local t = {}
  t[1], t.x = t, t
  return t
end

local trap = setmetatable({}, {
  __index = function() error("trap index") end,
  __len = function() error("trap length") end,
  __call = function() error("trap call") end,
  __name = "trap",
})

-- name -> maker: a fresh value for each call.
local hostile = {
  ["nil"] = function() return nil end,
  ["true"] = function() return true end,
  mininteger = function() return math.mininteger end,
  maxinteger = function() return math.maxinteger end,
  minus = function() return -1 end,
  zero = function() return 0 end,
  beyond = function() return 2.0 ^ 53 + 2 end,
  half = function() return 0.5 end,
  nan = function() return 0 / 0 end,
  inf = function() return 1 / 0 end,
  minus_inf = function() return -1 / 0 end,
  long_string = function() return ("x"):rep(100000) end,
  zero_byte = function() return "a\0b" end,
  empty_string = function() return "" end,
  format = function() return "%s%n%d/" end,
  empty_table = function() return {} end,
  trap = function() return trap end,
  cyclic = cyclic,
  strange_keys = function() return {[true] = 1, [1.5] = 2, [print] = 3} end,
  holes = function() return {1, nil, 3, [1000000] = 1} end,
  coroutine = function() return coroutine.create(function() end) end,
  thrower = function() return function() error({}) end end,
  light = function() return debug.upvalueid(function() return pelk end, 1) end,
  stdout = function() return io.stdout end,
  closed = closed_file,
  freed_tensor = function() return freed(pelk.zeros(2)) end,
  freed_module = function() return freed(core.nn.Linear(1, 1)) end,
  ints = function() return pelk.zeros({2}, {dtype = "int32"}) end,
  bytes = function() return pelk.zeros({2, 3}, {dtype = "uint8"}) end,
  empty_tensor = function() return pelk.zeros(0, 3) end,
  scalar = function() return pelk.tensor(1) end,
  six_dims = function() return pelk.zeros(1, 1, 1, 1, 1, 1) end,
  module = function() return core.nn.Linear(1, 1) end,
  false_tensor = function() return debug.setmetatable(closed_file(), tensor_mt) end,
  false_module = function() return debug.setmetatable(pelk.zeros(1), module_mt) end,
}

-- What stands in the other places.
local company = {
  nothing = function() return nil end,
  tensor = function() return pelk.ones(2, 3) end,
  number = function() return 1 end,
  table = function() return {} end,
  module = function() return core.nn.Sequential(core.nn.Linear(3, 2)) end,
}

local calls = 0

local function try(name, f, args, n)
  calls = calls + 1
  local ok, message = pcall(f, table.unpack(args, 1, n))
  pelk.manual_seed(1)
  if ok then return end
  if type(message) == "table" then return end -- what a thrower threw, passed on
  assert(type(message) == "string" and #message > 3, name .. ": an error without words")
  assert(name:find("__") or not message:find("'?'", 1, true), name .. ": does not name the function: " .. message)
end

-- Hostile values at each of the places first..last, company at the others.
local function besiege(name, f, first, last, self)
  for place = first, last do
    for _, make in pairs(hostile) do
      for _, other in pairs(company) do
        local args = {}
        for i = 1, last do args[i] = i == place and make() or other() end
        if place > last - 1 then args[place] = make() end
        if self then args[1] = place == 1 and make() or self() end
        try(name, f, args, place == last and last or math.random(place, last))
      end
    end
  end
end

-- Functions that act on the process, by name: not to be called with anything.
local function dangerous(name) return name:sub(1, 1) == "_" end

local function tensor() return pelk.ones(2, 3) end
local function module() return core.nn.Sequential(core.nn.Linear(3, 2), core.nn.LayerNorm(2)) end

describe("hostile arguments", function()
  local threads, isa = pelk.threads(), pelk.config().isa
  local home, folder, path, cpath = lfs.currentdir(), help.folder(), package.path, package.cpath
  setup(function()
    warn("@off")
    package.path, package.cpath = path:gsub("%./", home .. "/"), cpath:gsub("%./", home .. "/")
    assert(lfs.chdir(folder)) -- a number is the name of a file to functions that write files
  end)
  teardown(function()
    assert(lfs.chdir(home))
    package.path, package.cpath = path, cpath
    help.remove(folder)
    pelk.set_threads(threads)
    pelk.set_isa(isa)
    collectgarbage()
  end)

  it("to functions of the core", function()
    for name, f in pairs(core) do
      if type(f) == "function" and not dangerous(name) then besiege(name, f, 1, 3) end
    end
  end)

  it("to ops", function()
    for name, f in pairs(core.ops) do besiege(name, f, 1, 4) end
    for name, f in pairs(pelk.ops) do besiege(name, f, 1, 4) end
  end)

  it("to constructors of layers", function()
    for name, f in pairs(core.nn) do besiege(name, f, 1, 3) end
  end)

  it("to methods of tensors", function()
    for name, f in pairs(core.Tensor) do besiege("tensor:" .. name, f, 1, 3, tensor) end
  end)

  it("to methods of modules", function()
    for name, f in pairs(core.Module) do besiege("module:" .. name, f, 1, 3, module) end
  end)

  it("to metamethods", function()
    for name, f in pairs(tensor_mt) do
      if type(f) == "function" then besiege("tensor " .. name, f, 1, 3, tensor) end
    end
    for name, f in pairs(module_mt) do
      if type(f) == "function" then besiege("module " .. name, f, 1, 3, module) end
    end
  end)

  it("to options, one by one", function()
    for _, op in ipairs(core.ops.list()) do
      for _, parameter in ipairs(op.parameters) do
        for _, make in pairs(hostile) do
          try(op.name, core.ops[op.name], {tensor(), tensor(), {[parameter.name] = make()}}, 3)
          try(op.name, core.ops[op.name], {tensor(), {[parameter.name] = {make(), make()}}}, 2)
        end
      end
    end
    for _, class in ipairs(core.nn.list()) do
      for _, option in ipairs(class.options) do
        for _, make in pairs(hostile) do
          try(class.name, core.nn[class.name], {{[option.name] = make()}}, 1)
          try(class.name, core.nn[class.name], {{[option.name] = {make(), {make()}}}}, 1)
        end
      end
    end
  end)

  it("were many, and nothing has changed", function()
    assert.is_true(calls > 20000)
    assert.is_true(pelk.grad_enabled())
    assert.same({2, 2}, pelk.ones(2):mul(2):tolist())
  end)
end)

describe("finalisers called by hand", function()
  it("do nothing the second time", function()
    local t, m = pelk.zeros(3), core.nn.Linear(2, 2)
    tensor_mt.__gc(t)
    tensor_mt.__gc(t)
    tensor_mt.__close(t)
    module_mt.__gc(m)
    module_mt.__gc(m)
    assert.has_error(function() t:sum() end)
    assert.has_error(function() m:parameters() end)
    assert.has_error(function() tensor_mt.__gc(m) end)
    assert.has_error(function() tensor_mt.__gc(io.stdout) end)
    assert.has_error(function() tensor_mt.__gc() end)
  end)

  it("that free what is being used are survived", function()
    local x = pelk.ones(64, 64)
    setmetatable({}, {__gc = function() x:free() end})
    local n = 0
    while pcall(x.dim, x) and n < 10000 do
      n = n + 1
      pcall(function() return (x * 2):tolist() end)
    end
    assert.is_true(n < 10000)
  end)
end)

describe("metatables", function()
  it("are hidden", function()
    assert.equal("pelk.Tensor", getmetatable(pelk.zeros(1)))
    assert.equal("pelk.Module", getmetatable(core.nn.Linear(1, 1)))
    assert.has_error(function() setmetatable(pelk.zeros(1), {}) end)
  end)
end)

describe("random sequences of calls", function()
  it("are survived", function()
    math.randomseed(11)
    local pool = {pelk.ones(2, 3), pelk.randn(3, 4):requires_grad_(), pelk.zeros({2, 3}, {dtype = "int32"}), 1, 2, -1,
      {1, 2}, {dim = 1}, "x", nil, 0.5}
    local names = {}
    for name in pairs(core.Tensor) do names[#names + 1] = name end
    table.sort(names)
    for _ = 1, 20000 do
      local self = pool[math.random(3)]
      if type(self) == "userdata" and not pcall(self.dim, self) then self = pelk.ones(2, 3) end
      local f = core.Tensor[names[math.random(#names)]]
      local ok, result = pcall(f, self, pool[math.random(12)], pool[math.random(12)])
      if ok and type(result) == "userdata" and pcall(result.dim, result) and result:numel() < 1000 then
        pool[math.random(3)] = result
      elseif not pcall(pool[1].dim, pool[1]) then
        pool[1] = pelk.ones(2, 3)
      end
    end
  end)
end)

describe("the environment", function()
  -- What a new process with the setting says: the number of threads and the kernel set, or its error.
  local function says(setting)
    local file = assert(io.popen(("%s LUA_PATH='%s' LUA_CPATH='%s' lua5.4 -e '%s' 2>&1"):format(setting, package.path,
      package.cpath, 'local c = require("pelk.core").config() print(c.threads, c.isa)')))
    local text = file:read("a")
    file:close()
    return text
  end

  it("chooses threads and kernels", function()
    assert.truthy(says("PELK_NUM_THREADS=3 PELK_ISA=generic"):find("^3%s+generic\n$"))
    assert.truthy(says("PELK_NUM_THREADS= PELK_ISA="):find("^%d+%s+%w+\n$"))
    assert.truthy(says("PELK_NUM_THREADS= OMP_NUM_THREADS=5,2"):find("^5%s"))
    assert.truthy(says("PELK_NUM_THREADS=3 OMP_NUM_THREADS=5"):find("^3%s"))
  end)

  it("is refused where it makes no sense", function()
    for _, text in ipairs({ "abc", "0", "-1", "2x", "1.5", "257", "99999999999999999999" }) do
      local message = ("PELK_NUM_THREADS is '%s', wants 1 to 256"):format(text)
      assert.truthy(says("PELK_NUM_THREADS=" .. text):find(message, 1, true))
    end
    for _, name in ipairs({ "abc", "AVX2" }) do
      assert.truthy(says("PELK_ISA=" .. name):find("PELK_ISA: unknown kernel set '" .. name .. "'", 1, true))
    end
  end)
end)
