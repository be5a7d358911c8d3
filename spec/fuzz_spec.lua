-- What fuzzing found once (spec/fuzz/corpus) is read again: an answer or a clear refusal, and memory as before.

local pelk = require "pelk"
local core = require "pelk.core"

local help = require "spec.help"
local zip = require "spec.zip"

local function names(folder)
  local list, pipe = {}, io.popen("ls -A '" .. folder .. "'")
  for name in pipe:lines() do list[#list + 1] = name end
  pipe:close()
  return list
end

-- Read it, and put what comes out into a model that has some of the names.
local function try(bytes, m)
  local ok, value, message = pcall(core.parse_file, bytes, "input", nil, {"my.*"})
  assert(ok, value)
  if value == nil then
    assert.equal("input: ", message:sub(1, 7))
  elseif type(value) == "table" then
    for _, how in ipairs {"off", "pad", "scale"} do
      pcall(m.load_state_dict, m, value, {strict = false, resize = how, head = "reset"})
    end
    for _, t in pairs(value) do t:clone() end
  end
end

describe("the corpus of tensors", function()
  local folder = "spec/fuzz/corpus/tensors"
  local m = pelk.nn.PeripheralConv {channels = 3, kernel = 13}
  local list = names(folder)

  it("is there", function() assert.truthy(#list >= 9) end)

  it("is read or refused", function()
    collectgarbage()
    collectgarbage()
    local before = core.memory().live
    for _, name in ipairs(list) do
      local bytes = help.read(folder .. "/" .. name)
      try(bytes, m)
      -- and as the pickle of an archive, where it gets past the checksum
      try(zip {{"a/data.pkl", bytes}, {"a/data/0", ("\0"):rep(16)}}, m)
      try(zip {{"a.npy", bytes}}, m)
    end
    collectgarbage()
    collectgarbage()
    assert.truthy(core.memory().live <= before)
  end)

  -- Neighbours of it by a fixed stream of changes: bytes set, cut out, put in twice.
  it("changed at random is read or refused", function()
    local state = 12345
    local function draw(n)
      state = (state * 6364136223846793005 + 1442695040888963407)
      return (state >> 33) % n
    end
    for _ = 1, os.getenv "PELK_QUICK" and 300 or 3000 do
      local bytes = help.read(folder .. "/" .. list[draw(#list) + 1])
      for _ = 0, draw(4) do
        local at, n = draw(#bytes + 1), draw(12)
        local way = draw(4)
        local middle = way == 0 and "" or way == 1 and string.char(draw(256)) or bytes:sub(at + 1, at + n):rep(2)
        if way == 3 then middle = string.pack("<I4", ({0, 1, 0x7fffffff, 0xffffffff, 0x80000000})[draw(5) + 1]) end
        bytes = bytes:sub(1, at) .. middle .. bytes:sub(at + 1 + (way == 1 and 1 or n))
      end
      try(bytes, m)
      if bytes:byte(1) == 0x80 then try(zip {{"a/data.pkl", bytes}, {"a/data/0", ("\0"):rep(16)}}, m) end
    end
  end)
end)
