-- Files: safetensors read strictly and written crash-safely, weights of models, JSON.

local pelk = require "pelk"
local core = require "pelk.core"
local json = require "pelk.json"

local help = require "spec.help"
local read, raises, refuses, write = help.read, help.raises, help.refuses, help.write
local dir

setup(function()
  dir = help.folder()
end)

teardown(function()
  core._fail_file(0)
  help.remove(dir)
end)

-- Files in the folder, hidden ones too.
local function listing()
  local names = {}
  for name in io.popen("ls -A '" .. dir .. "'"):lines() do names[#names + 1] = name end
  return names
end

-- A file from its parts; the header's length may be given otherwise.
local function build(header, bytes, length) return string.pack("<I8", length or #header) .. header .. (bytes or "") end

local function entry(name, dtype, shape, from, to)
  return ('"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}'):format(name, dtype, shape, from, to)
end

describe("tensors in files", function()
  it("come back as they were", function()
    local path = dir .. "/a.safetensors"
    local given = {
      matrix = pelk.tensor {{1.5, -2, 3}, {0, 1e-30, 6}}, scalar = pelk.tensor(7.25),
      bytes = pelk.tensor({1, 2, 255}, {dtype = "uint8"}), labels = pelk.tensor({-5, 2000000000}, {dtype = "int32"}),
      empty = pelk.zeros {0, 3}, ["naïve \"name\"\\/\t"] = pelk.tensor {1},
    }
    local metadata = {epoch = "3", ["key \1"] = "ünïcode \"quoted\"\n", empty = ""}
    assert.is_true(core.save_tensors(path, given, metadata))
    local got, got_metadata = core.load_tensors(path)
    assert.same(metadata, got_metadata)
    local n = 0
    for name, t in pairs(got) do
      n = n + 1
      assert.same(given[name]:shape(), t:shape())
      assert.equal(given[name]:dtype(), t:dtype())
      assert.same(given[name]:flat(), t:flat())
    end
    assert.equal(6, n)
    assert.equal(6, #got)
  end)

  it("keep NaN, infinities and views", function()
    local t = pelk.tensor {{1, 2, 3}, {4, 5, 6}}
    local odd = pelk.tensor {0 / 0, math.huge, -math.huge, -0.0}
    core.save_tensors(dir .. "/b.safetensors", {view = t:transpose(1, 2), odd = odd, slice = t:narrow(2, 2, 1)})
    local got = core.load_tensors(dir .. "/b.safetensors")
    assert.same({{1, 4}, {2, 5}, {3, 6}}, got.view:tolist())
    assert.same({{2}, {5}}, got.slice:tolist())
    assert.truthy(got.odd[1]:item() ~= got.odd[1]:item())
    assert.equal(math.huge, got.odd[2]:item())
    assert.equal("-0.0", tostring(got.odd[4]:item()))
  end)

  it("keep the order of a list, bytes after floats, all data aligned", function()
    local path = dir .. "/c.safetensors"
    core.save_tensors(path, {{"z", pelk.tensor({1}, {dtype = "uint8"})}, {"y", pelk.ones {3}}, {"x", pelk.ones {2}}})
    local names = {}
    for name in pairs((core.load_tensors(path))) do names[#names + 1] = name end
    assert.same({"y", "x", "z"}, names)
    local bytes = read(path)
    local length = string.unpack("<I8", bytes)
    assert.equal(0, length % 8)
    local header = json.decode(bytes:sub(9, 8 + length))
    assert.same({0, 12}, {table.unpack(header.y.data_offsets)})
    assert.same({12, 20}, {table.unpack(header.x.data_offsets)})
    assert.same({20, 21}, {table.unpack(header.z.data_offsets)})
    assert.equal(8 + length + 21, #bytes)
  end)

  it("give the same bytes for the same content", function()
    local t = {b = pelk.ones {2}, a = pelk.ones {3}, c = pelk.ones {1}}
    core.save_tensors(dir .. "/d1", t, {x = "1", y = "2"})
    core.save_tensors(dir .. "/d2", {c = t.c, a = t.a, b = t.b}, {y = "2", x = "1"})
    assert.equal(read(dir .. "/d1"), read(dir .. "/d2"))
  end)

  it("are read by another program", function()
    if not os.execute("python3 -c 'import json, struct, zlib' >/dev/null 2>&1") then
      pending("python3 is not there to cross-check")
      return
    end
    local path = dir .. "/e.safetensors"
    local n = pelk.tensor({7, 8}, {dtype = "int32"})
    core.save_tensors(path, {w = pelk.tensor {{1.5, -2}, {3, 4}}, n = n}, {k = "v"})
    write(dir .. "/check.py", [[
import json, struct, sys, zlib
b = open(sys.argv[1], "rb").read()
n, = struct.unpack("<Q", b[:8])
h = json.loads(b[8:8 + n])
m = h.pop("__metadata__")
crc = 0
want = int(m.pop("pelk.crc32"), 16)
for k in sorted(m):
    crc = zlib.crc32(k.encode() + b"\0" + m[k].encode() + b"\0", crc)
out = []
for k, e in sorted(h.items(), key=lambda x: x[1]["data_offsets"]):
    a, z = e["data_offsets"]
    d = b[8 + n + a:8 + n + z]
    shape = struct.pack("<%dq" % len(e["shape"]), *e["shape"])
    crc = zlib.crc32(k.encode() + b"\0" + e["dtype"].encode() + b"\0" + shape, crc)
    crc = zlib.crc32(d, crc)
    kind = "f" if e["dtype"] == "F32" else "i"
    out.append((k, e["dtype"], e["shape"], list(struct.unpack("<%d%s" % (len(d) // 4, kind), d))))
print(out, m, crc == want)
]])
    local pipe = io.popen("python3 '" .. dir .. "/check.py' '" .. path .. "' 2>&1")
    assert.equal("[('n', 'I32', [2], [7, 8]), ('w', 'F32', [2, 2], [1.5, -2.0, 3.0, 4.0])] {'k': 'v'} True\n",
      pipe:read("a"))
    pipe:close()
  end)

  it("are converted from types that are not ours", function()
    local data = string.pack("<I2I2I2I2", 0x3c00, 0xc500, 0x0001, 0x7c00) -- F16: 1, -5, 2^-24, inf
      .. string.pack("<I2I2", 0x3fc0, 0xff80) -- BF16: 1.5, -inf
      .. string.pack("<d", 0.1) .. string.pack("<i8i8", -3, 2000000000) .. string.pack("<i2", -7)
      .. string.pack("<I2", 65535) .. "\255" .. "\0" .. "\1"
    local header = "{" .. table.concat({
      entry("half", "F16", "4", 0, 8), entry("brain", "BF16", "2", 8, 12), entry("double", "F64", "1", 12, 20),
      entry("long", "I64", "2", 20, 36), entry("short", "I16", "", 36, 38), entry("word", "U16", "", 38, 40),
      entry("signed", "I8", "1", 40, 41), entry("bool", "BOOL", "2", 41, 43),
    }, ",") .. "}"
    local got = assert(core.parse_tensors(build(header, data)))
    assert.same({1, -5, 2 ^ -24, math.huge}, got.half:flat())
    assert.same({1.5, -math.huge}, got.brain:flat())
    assert.near(0.1, got.double[1]:item(), 1e-8)
    assert.same({-3, 2000000000}, got.long:flat())
    assert.same({-7}, got.short:flat())
    assert.same({65535}, got.word:flat())
    assert.same({-1}, got.signed:flat())
    assert.same({0, 1}, got.bool:flat())
    assert.equal("int32", got.long:dtype())
    assert.equal("uint8", got.bool:dtype())
    local large = build("{" .. entry("x", "I64", "1", 0, 8) .. "}", string.pack("<i8", 1 << 31))
    refuses("int32 cannot hold", core.parse_tensors(large))
  end)

  it("name what is wrong with arguments", function()
    raises("must be a pelk.Tensor, got 3", core.save_tensors, dir .. "/x", {a = 3})
    raises("metadata 'a' must be a string", core.save_tensors, dir .. "/x", {}, {a = 3})
    raises("occurs twice", core.save_tensors, dir .. "/x", {{"a", pelk.ones {1}}, {"a", pelk.ones {1}}})
    raises("not valid UTF%-8", core.save_tensors, dir .. "/x", {["\255"] = pelk.ones {1}})
    raises("zero byte", core.save_tensors, dir .. "/x", {["a\0b"] = pelk.ones {1}})
    raises("__metadata__", core.save_tensors, dir .. "/x", {__metadata__ = pelk.ones {1}})
    raises("path is empty", core.load_tensors, "")
    raises("zero byte", core.load_tensors, "a\0b")
    refuses("No such file", core.load_tensors(dir .. "/nothing"))
    refuses("is a directory", core.load_tensors(dir))
    refuses("device", core.load_tensors("/dev/null"))
    assert.is_nil(io.open(dir .. "/x"))
  end)
end)

describe("many small tensors", function()
  it("are read back in both formats", function()
    local many = {}
    for i = 1, 5000 do many[("a.tensor.with.a.name.%d"):format(i)] = pelk.tensor { i } end
    for _, ending in ipairs { "safetensors", "npz" } do
      local path = dir .. "/many." .. ending
      assert.is_true(pelk.save(path, many))
      assert.equal(4321, assert(pelk.load(path))["a.tensor.with.a.name.4321"]:item())
    end
  end)
end)

describe("hostile files", function()
  local good = entry("a", "F32", "2", 0, 8)
  local eight = ("\0"):rep(8)
  local cases = {
    {"nothing", "", "too short"},
    {"a few bytes", "123456789", "too short"},
    {"a huge length", build("{}", "", 1 << 62), "cut short"},
    {"a negative length", build("{}", "", -1), "cut short"},
    {"a length past the end", build("{}", "", 3), "cut short"},
    {"no object", build("[]"), "does not begin with {"},
    {"leading space", build(" {}"), "does not begin with {"},
    {"text after the object", build("{}x"), "not JSON"},
    {"two objects", build("{}{}"), "not JSON"},
    {"an open object", build("{" .. good, eight), "not JSON"},
    {"no colon", build('{"a" "b"}'), "not JSON"},
    {"a comma too many", build("{" .. good .. ",}", eight), "not JSON"},
    {"no comma", build("{" .. good .. entry("b", "U8", "0", 8, 8) .. "}", eight), "not JSON"},
    {"a bare word", build('{"a":nul}'), "not JSON"},
    {"a number as a key", build("{1:2}"), "not JSON"},
    {"leading zeros", build('{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}', eight), "not JSON"},
    {"bad UTF-8", build('{"\255":1}'), "UTF%-8"},
    {"overlong UTF-8", build('{"\xc0\x80":1}'), "UTF%-8"},
    {"a surrogate in UTF-8", build('{"\xed\xa0\x80":1}'), "UTF%-8"},
    {"a control character", build('{"a\nb":1}'), "control character"},
    {"a zero in a name", build('{"a\\u0000":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight), "cannot have"},
    {"half a surrogate", build('{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight), "cannot have"},
    {"deep nesting", build("{" .. ('"a":['):rep(1) .. ("["):rep(100000)), "nested too deep"},
    {"closed twice", build("{}]"), "closed twice"},
    {"duplicate names", build("{" .. good .. "," .. good .. "}", eight), "occurs twice"},
    {"duplicate names by escapes",
      build("{" .. good .. "," .. entry("\\u0061", "F32", "2", 8, 16) .. "}", eight .. eight), "occurs twice"},
    {"duplicate metadata", build('{"__metadata__":{"a":"1","a":"2"}}'), "occurs twice"},
    {"two metadatas", build('{"__metadata__":{},"__metadata__":{}}'), "occurs twice"},
    {"metadata of numbers", build('{"__metadata__":{"a":1}}'), "not a string"},
    {"metadata that is a list", build('{"__metadata__":["a"]}'), "not an object"},
    {"an entry that is no object", build('{"a":1}'), "not an object"},
    {"no dtype", build('{"a":{"shape":[2],"data_offsets":[0,8]}}', eight), "no dtype"},
    {"no shape", build('{"a":{"dtype":"F32","data_offsets":[0,8]}}', eight), "no shape"},
    {"no offsets", build('{"a":{"dtype":"F32","shape":[2]}}', eight), "no data_offsets"},
    {"two dtypes", build('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight),
      "occurs twice"},
    {"an unknown field", build('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}', eight), "none of"},
    {"an unknown dtype", build("{" .. entry("a", "F8_E4M3", "8", 0, 8) .. "}", eight), "dtype F8_E4M3"},
    {"a dtype that is no string", build('{"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}}', eight), "dtype %?"},
    {"a negative dimension", build("{" .. entry("a", "F32", "-2", 0, 8) .. "}", eight), "whole numbers"},
    {"a fraction as a dimension", build("{" .. entry("a", "F32", "2.0", 0, 8) .. "}", eight), "whole numbers"},
    {"a string as a dimension", build("{" .. entry("a", "F32", '"2"', 0, 8) .. "}", eight), "whole numbers"},
    {"a nested shape", build("{" .. entry("a", "F32", "[2]", 0, 8) .. "}", eight), "whole numbers"},
    {"a dimension past 64 bits", build("{" .. entry("a", "F32", "18446744073709551617", 0, 8) .. "}", eight),
      "whole numbers"},
    {"seven dimensions", build("{" .. entry("a", "F32", "1,1,1,1,1,1,2", 0, 8) .. "}", eight), "7 dimensions"},
    {"a product past 64 bits", build("{" .. entry("a", "F32", "4294967296,4294967296,2", 0, 8) .. "}", eight),
      "larger than"},
    {"a product past 64 bits by the type", build("{" .. entry("a", "F64", "1152921504606846977", 0, 8) .. "}", eight),
      "larger than"},
    {"an empty tensor of absurd shape", build("{" .. entry("a", "F32", "0,4294967296,4294967296,9", 0, 0) .. "}"),
      "larger than"},
    {"offsets that are too few", build('{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}', eight),
      "two whole numbers"},
    {"offsets that go back", build("{" .. entry("a", "F32", "0", 8, 0) .. "}", eight), "offsets say"},
    {"offsets unlike the shape", build("{" .. entry("a", "F32", "3", 0, 8) .. "}", eight), "needs 12 bytes"},
    {"a hole", build("{" .. good .. "," .. entry("b", "U8", "1", 9, 10) .. "}", eight .. "\0\0"), "a hole"},
    {"a hole at the front", build("{" .. entry("a", "U8", "1", 1, 2) .. "}", "\0\0"), "a hole"},
    {"an overlap", build("{" .. good .. "," .. entry("b", "U8", "4", 4, 8) .. "}", eight), "an overlap"},
    {"the same data twice", build("{" .. good .. "," .. entry("b", "F32", "2", 0, 8) .. "}", eight), "an overlap"},
    {"data missing", build("{" .. good .. "}", "\0\0\0\0"), "the file holds 4"},
    {"data left over", build("{" .. good .. "}", eight .. "\0"), "the file holds 9"},
    {"a checksum that is no number", build('{"__metadata__":{"pelk.crc32":"zzzzzzzz"}}'), "hexadecimal"},
    {"a wrong checksum", build('{"__metadata__":{"pelk.crc32":"12345678"}}'), "checksum"},
  }

  for _, case in ipairs(cases) do
    it("with " .. case[1], function()
      local value, message = core.parse_tensors(case[2], "case")
      refuses(case[3], value, message)
      assert.equal("case: ", message:sub(1, 6))
    end)
  end

  it("with too many values for their size take no memory", function()
    collectgarbage()
    local before = core.memory().live
    core.reset_peak()
    local ones = build('{"a":[' .. ("1,"):rep(4000000) .. "1]}")
    refuses("too many", core.parse_tensors(ones))
    assert.truthy(core.memory().peak - before <= 3 * #ones + (1 << 20))
    assert.truthy(core.memory().live <= before) -- less where garbage of other specs went meanwhile
  end)

  it("that are valid but odd are read", function()
    assert.same({}, (assert(core.parse_tensors(build("{}")))))
    assert.same({}, (assert(core.parse_tensors(build("{}      ")))))
    local got = assert(core.parse_tensors(build(
      '{ "\\u0061\\ud83d\\ude00" : {"shape":[],"data_offsets":[0,4],"dtype":"F32"} }', string.pack("<f", 2))))
    assert.equal(2, got["a😀"]:item())
  end)
end)

describe("a damaged file", function()
  local path, bytes, names

  setup(function()
    path = dir .. "/whole.safetensors"
    core.save_tensors(path, {w = pelk.tensor {{1, 2}, {3, 4}}, b = pelk.tensor({5, 6, 7}, {dtype = "uint8"}),
      e = pelk.zeros {0}}, {note = "x"})
    bytes = read(path)
    names = core.load_tensors(path)
  end)

  it("cut at any place is refused", function()
    for n = 0, #bytes - 1 do
      local value, message = core.parse_tensors(bytes:sub(1, n))
      assert.is_nil(value)
      assert.is_string(message)
    end
  end)

  it("with any byte changed is refused or gives the same tensors", function()
    local survived = 0
    for at = 1, #bytes do
      local head, byte, tail = bytes:sub(1, at - 1), bytes:byte(at), bytes:sub(at + 1)
      for value = 0, 255 do
        local got = value ~= byte and core.parse_tensors(head .. string.char(value) .. tail)
        if got then
          survived = survived + 1
          local n = 0
          for name, t in pairs(got) do
            n = n + 1
            local same = names[name] and names[name]:equal(t)
            assert.truthy(same, ("byte %d as %d: other tensor %s"):format(at, value, name))
          end
          assert.equal(#names, n)
        end
      end
    end
    assert.truthy(survived < 16 * 256) -- spaces for one another, and the name of the checksum
  end)

  it("with a failing allocation at any place leaves no memory behind", function()
    collectgarbage()
    collectgarbage()
    local before, refused, n, done = core.memory().live, 0, 0
    repeat
      n = n + 1
      core._fail_alloc(n, true)
      local ok, value = pcall(core.parse_tensors, bytes)
      core._fail_alloc(0)
      if not ok then refused = refused + 1 end
      done, value = ok and value ~= nil, nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.equal(before, core.memory().live)
    until done or n > 500
    assert.truthy(refused >= 10 and n < 500)
  end)
end)

describe("writing", function()
  local path

  before_each(function()
    path = dir .. "/target"
    core._fail_file(0)
    assert.is_true(core.write_file(path, "the old content"))
  end)

  after_each(function() core._fail_file(0) end)

  it("leaves the old file or the new one, whatever call fails", function()
    local large = ("new"):rep(100000)
    core._fail_file(0)
    core.write_file(path, large)
    local calls = core._file_calls()
    assert.truthy(calls >= 6)
    for _, fault in ipairs {"ENOSPC", "EIO"} do
      for n = 1, calls do
        core._fail_file(0)
        core.write_file(path, "the old content")
        core._fail_file(n, fault)
        local ok, message = core.write_file(path, large)
        core._fail_file(0)
        assert.is_nil(ok)
        assert.truthy(message:find(path, 1, true) and message:find(fault == "EIO" and "error" or "space"), message)
        local content = read(path)
        assert.truthy(content == "the old content" or content == large)
      end
    end
    for _, name in ipairs(listing()) do assert.is_nil(name:find("pelk%-new")) end
  end)

  it("goes on after interruptions and short writes", function()
    local large = ("new"):rep(100000)
    for n = 1, 12 do
      for _, fault in ipairs {"EINTR", "short"} do
        core._fail_file(n, fault)
        local ok, message = core.write_file(path, large)
        core._fail_file(0)
        if fault == "short" then assert.is_true(ok, message) end
        if ok then assert.equal(large, read(path)) end
      end
    end
  end)

  it("takes over a temporary that a killed process left", function()
    write(dir .. "/.target.pelk-new", ("rubbish"):rep(1000))
    assert.is_true(core.write_file(path, "x"))
    assert.equal("x", read(path))
    for _, name in ipairs(listing()) do assert.is_nil(name:find("pelk%-new")) end
  end)

  it("does not write through a temporary that is a link", function()
    write(dir .. "/victim", "precious")
    os.execute(("ln -s victim '%s/.target.pelk-new'"):format(dir))
    assert.is_true(core.write_file(path, "x"))
    os.execute(("ln '%s/victim' '%s/.target.pelk-new'"):format(dir, dir))
    assert.is_true(core.write_file(path, "y"))
    assert.equal("precious", read(dir .. "/victim"))
    assert.equal("y", read(path))
  end)

  it("keeps links and permissions", function()
    os.execute(("chmod 640 '%s' && ln -sf target '%s/link'"):format(path, dir))
    assert.is_true(core.write_file(dir .. "/link", "through"))
    assert.equal("through", read(path))
    local pipe = io.popen(("stat -c '%%a %%F' '%s' '%s/link'"):format(path, dir))
    assert.equal("640 regular file\n777 symbolic link\n", pipe:read("a"))
    pipe:close()
  end)

  it("keeps a link whose file is not there yet, and replaces what may not be written", function()
    os.execute(("rm -f '%s/new'; ln -sf new '%s/early'"):format(dir, dir))
    assert.is_true(core.write_file(dir .. "/early", "first"))
    assert.equal("first", read(dir .. "/new"))
    os.execute(("chmod 444 '%s/new'; touch '%s/.new.pelk-new'; chmod 444 '%s/.new.pelk-new'"):format(dir, dir, dir))
    assert.is_true(core.write_file(dir .. "/early", "second"))
    assert.equal("second", read(dir .. "/new"))
    local pipe = io.popen(("stat -c '%%a %%F' '%s/new' '%s/early'"):format(dir, dir))
    assert.equal("444 regular file\n777 symbolic link\n", pipe:read("a"))
    pipe:close()
  end)

  it("refuses what is no regular file", function()
    refuses("is a directory", core.write_file(dir, "x"))
    refuses("device", core.write_file("/dev/null", "x"))
    refuses("No such file", core.write_file(dir .. "/no/where", "x"))
  end)
end)

describe("a model's weights", function()
  local nn = core.nn

  it("have PyTorch's layouts in a file, and come back", function()
    local cases = {
      {nn.Conv2d {in_channels = 3, out_channels = 4, kernel = 2}, "weight", {4, 3, 2, 2}},
      {nn.DepthwiseConv {channels = 5, kernel = 3}, "weight", {5, 1, 3, 3}},
      {nn.PeripheralConv {channels = 5, kernel = 13}, "weight", {5, 1, 9, 9}},
      {nn.PeripheralConv {channels = 5, kernel = 13}, "position", {1, 13, 13}},
      {nn.Linear {in_features = 4, out_features = 2}, "weight", {2, 4}},
    }
    for i, case in ipairs(cases) do
      local m, name, shape = table.unpack(case)
      local path = ("%s/m%d.safetensors"):format(dir, i)
      assert.is_true(core.module_save(m, path))
      assert.same(shape, core.load_tensors(path)[name]:shape())
      assert.same(shape, core.module_state(m)[name]:shape())
      local before, copy = {}, m:clone()
      for key, t in m:named_parameters() do before[key] = t:clone() end
      core.no_grad(function() for _, t in m:named_parameters() do t:fill_(0) end end)
      assert.is_true(core.module_load(m, path))
      for key, t in m:named_parameters() do assert.is_true(t:equal(before[key])) end
      assert.is_true(core.module_set_state(copy, core.module_state(m)))
    end
  end)

  it("go to their places", function()
    local m = nn.Conv2d {in_channels = 2, out_channels = 1, kernel = 3}
    local w = {}
    for i = 1, 18 do w[i] = i end -- (1, 2, 3, 3): input 1's kernel first
    local state = {weight = pelk.tensor(w, {1, 2, 3, 3}), bias = pelk.zeros {1}}
    core.module_set_state(m, state, {strict = false})
    for _, t in m:named_parameters() do
      if t:dim() == 4 then
        assert.same({1, 10}, t[1][1][1]:tolist())
        assert.same({2, 11}, t[1][1][2]:tolist())
        assert.same({4, 13}, t[1][2][1]:tolist())
      end
    end
  end)

  it("that do not fit are named, and the model stays as it is", function()
    local m = nn.Linear {in_features = 4, out_features = 2}
    local weight = m:named_parameters()
    local before = {}
    for name, t in m:named_parameters() do before[name] = t:clone() end
    local path = dir .. "/misfit.safetensors"
    core.save_tensors(path, {weight = pelk.ones {4, 2}, other = pelk.ones {1}})
    local ok, message = core.module_load(m, path)
    refuses("missing: bias %(1 in all%); unexpected: other %(1 in all%); "
      .. "other shape: weight is {4,2}, the model has {2,4}", ok, message)
    core.save_tensors(path, {weight = pelk.ones {2, 4}, bias = pelk.tensor({1, 2}, {dtype = "int32"})})
    refuses("bias is int32, the model has float32", core.module_load(m, path))
    for name, t in m:named_parameters() do assert.is_true(t:equal(before[name])) end
    local many = {}
    for i = 1, 20 do many["x" .. i] = pelk.ones {1} end
    raises("and 12 more %(20 in all%)", core.module_set_state, m, many)
    core.save_tensors(path, {weight = pelk.ones {2, 4}, num_batches_tracked = pelk.tensor(3, {dtype = "int32"})})
    refuses("missing: bias", core.module_load(m, path))
    local fine, account = core.module_load(m, path, {strict = false})
    assert.is_true(fine)
    assert.equal("missing: bias (1 in all)", account)
    raises("did you mean 'strict'", core.module_load, m, path, {strikt = true})
    assert.truthy(weight)
  end)
end)

describe("JSON", function()
  it("writes equal text for equal tables", function()
    assert.equal('{"a":1,"b":[1,2.5,"x\\n\\"é"],"c":{},"d":true,"e":0.1,"f":null,"g":[]}',
      json.encode {g = json.list(), a = 1, f = json.null, e = 0.1, d = true, c = {}, b = {1, 2.5, "x\n\"é"}})
    assert.equal('{\n  "a": [\n    1\n  ]\n}', json.encode({a = {1}}, "  "))
  end)

  it("comes back", function()
    local value = {name = "a\\/\t\127", list = {1, -2, 3.25, 1e300, 2 ^ 53}, deep = {{{x = false}}}}
    assert.same(value, assert(json.decode(json.encode(value))))
    assert.equal("integer", math.type(json.decode("3")))
    assert.equal("float", math.type(json.decode("3.0")))
    assert.equal("😀", json.decode('"\\ud83d\\ude00"'))
  end)

  it("refuses what it cannot say", function()
    raises("value%.x%[1%] is %-?nan", json.encode, {x = {0 / 0}})
    raises("value is inf", json.encode, math.huge)
    raises("both names and numbers", json.encode, {1, a = 2})
    raises("holes", json.encode, {[1] = 1, [3] = 3})
    raises("value%.f is a function", json.encode, {f = print})
    raises("not valid UTF%-8", json.encode, "\255")
    local cycle = {}
    cycle.me = cycle
    raises("in itself", json.encode, cycle)
  end)

  it("says where a text is wrong", function()
    for text, pattern in pairs {
      ["[1,]"] = "line 1, column 4", ["{\n \"a\" 1}"] = "':' expected at line 2, column 6", ["01"] = "not a value",
      ["[1] x"] = "after the end", ['"\\ud800"'] = "surrogate", ['{"a":1,"a":2}'] = "'a' occurs twice",
      [("["):rep(100)] = "deeper", ["nan"] = "not a value", ["-"] = "not a value", ['"a\n"'] = "control character",
      [""] = "not a value", ["\255"] = "UTF%-8", ["{"] = "name in quotes", ['{"a":1'] = "expected",
      ['"a'] = "without an end",
    } do
      refuses(pattern, json.decode(text))
    end
  end)
end)
