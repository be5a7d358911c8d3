-- NumPy's .npy and .npz: what NumPy writes is read, what is written NumPy reads, hostile files are refused by name.

local pelk = require "pelk"
local core = require "pelk.core"

local help = require "spec.help"
local zip = require "spec.zip"
local read, raises, refuses, write = help.read, help.raises, help.refuses, help.write
local dir

setup(function() dir = help.folder() end)
teardown(function()
  core._fail_alloc(0)
  help.remove(dir)
end)

-- An array from its parts.
local function npy(dict, data, version)
  local header = dict .. "\n"
  local length = (version or 1) == 1 and string.pack("<I2", #header) or string.pack("<I4", #header)
  return "\x93NUMPY" .. string.char(version or 1, 0) .. length .. header .. (data or "")
end

local function described(descr, order, shape) -- as NumPy writes it
  return ("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }"):format(descr, order, shape)
end

local four = npy(described("<f4", "False", "(4,)"), string.pack("<ffff", 1, 2, 3, 4))

describe("an array", function()
  it("comes back from a file, alone or under its name", function()
    local x = pelk.randn {2, 3, 4}
    assert.is_true(pelk.save(dir .. "/x.npy", x))
    local y = assert(pelk.load(dir .. "/x.npy"))
    assert.is_true(x:equal(y))
    local given = {{"z/é", pelk.arange(5)}, {"labels", pelk.tensor({-1, 2}, {dtype = "int32"})},
      {"bytes", pelk.tensor({0, 255}, {dtype = "uint8"})}, {"scalar", pelk.tensor(2.5)}, {"none", pelk.zeros {0, 3}},
      {"view", x:transpose(1, 3)}}
    assert.is_true(pelk.save(dir .. "/x.npz", given))
    local got = assert(pelk.load(dir .. "/x.npz"))
    local order = {}
    for name in pairs(got) do order[#order + 1] = name end
    assert.same({"z/é", "labels", "bytes", "scalar", "none", "view"}, order)
    for _, pair in ipairs(given) do
      assert.same(pair[2]:shape(), got[pair[1]]:shape())
      assert.equal(pair[2]:dtype(), got[pair[1]]:dtype())
      assert.is_true(pair[2]:equal(got[pair[1]]))
    end
    assert.is_true(pelk.save(dir .. "/y.npz", given))
    assert.equal(read(dir .. "/x.npz"), read(dir .. "/y.npz"))
    assert.is_true(pelk.save(dir .. "/x.safetensors", given, {note = "n"}))
    local same, metadata = pelk.load(dir .. "/x.safetensors")
    assert.is_true(same.view:equal(x:transpose(1, 3)))
    assert.equal("n", metadata.note)
  end)

  it("of every type is read, by hand-made bytes", function()
    local function check(descr, format, a, b, dtype)
      local t = assert(core.parse_file(npy(described(descr, "False", "(2,)"), string.pack(format, a, b))))
      assert.same({a, b}, t:flat())
      assert.equal(dtype, t:dtype())
    end
    check("<f4", "<ff", 1.5, -2, "float32")
    check("<f8", "<dd", 0.5, -2 ^ 20, "float32")
    check("|i1", "<i1i1", -128, 127, "int32")
    check("<i2", "<i2i2", -32768, 5, "int32")
    check("<i4", "<i4i4", -7, 1 << 30, "int32")
    check("<i8", "<i8i8", -7, 1 << 30, "int32")
    check("|u1", "<I1I1", 0, 255, "uint8")
    check("<u2", "<I2I2", 0, 65535, "int32")
    check("|b1", "<I1I1", 0, 1, "uint8")
    local half = assert(core.parse_file(npy(described("<f2", "False", "(2,)"), string.pack("<I2I2", 0x3c00, 0xc500))))
    assert.same({1, -5}, half:flat())
    refuses("int32 cannot hold", core.parse_file(npy(described("<i8", "False", "()"), string.pack("<i8", 1 << 31))))
  end)

  it("in Fortran order is turned", function()
    local data = string.pack("<ffffff", 1, 2, 3, 4, 5, 6)
    local t = assert(core.parse_file(npy(described("<f4", "True", "(2, 3)"), data)))
    assert.same({{1, 3, 5}, {2, 4, 6}}, t:tolist())
    assert.same({1, 2, 3, 4, 5, 6}, assert(core.parse_file(npy(described("<f4", "True", "(6,)"), data))):flat())
  end)

  it("has versions 1 to 3, and a header in any order and spacing", function()
    local data = string.pack("<f", 7)
    for version = 1, 3 do
      assert.same({7}, assert(core.parse_file(npy(described("<f4", "False", "(1,)"), data, version))):flat())
    end
    assert.equal(7, assert(core.parse_file(npy('{"shape":(),"fortran_order":False,"descr":"<f4"}   ', data))):item())
    local old = npy("{'descr':'<f4','fortran_order':False,'shape':(1L,1)}", data)
    assert.same({1, 1}, assert(core.parse_file(old)):shape())
  end)

  it("written by NumPy is read, and NumPy reads ours", function()
    local python = help.python "numpy"
    if not python then
      pending("skipped: python3-numpy is not installed (npy and npz against NumPy)")
      return
    end
    pelk.save(dir .. "/ours.npz", {a = pelk.tensor {{1, 2, 3}, {4, 5, 6}}, i = pelk.tensor({3, -4}, {dtype = "int32"})})
    pelk.save(dir .. "/ours.npy", pelk.tensor({1, 2}, {dtype = "uint8"}))
    write(dir .. "/x.py", [=[
import sys, numpy as np
d = sys.argv[1]
z = np.load(d + "/ours.npz")
assert z["a"].dtype == np.float32 and z["a"].tolist() == [[1, 2, 3], [4, 5, 6]], z["a"]
assert z["i"].dtype == np.int32 and z["i"].tolist() == [3, -4]
assert np.load(d + "/ours.npy").tolist() == [1, 2]
x = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
many = dict(c=x, f=np.asfortranarray(x), half=x.astype(np.float16), long=x.astype(np.int64), byte=x.astype(np.uint8),
            yes=x > 3, strided=np.ascontiguousarray(x[:, ::2]), scalar=np.float32(2.5),
            none=np.zeros((0, 2), np.float32))
np.savez(d + "/plain.npz", **many)
np.savez_compressed(d + "/packed.npz", zeros=np.zeros((300, 300), np.float32), **many)
np.save(d + "/fortran.npy", np.asfortranarray(x.astype(np.float32)))
np.savez(d + "/objects.npz", o=np.array([{}, 1], dtype=object))
np.save(d + "/big.npy", x.astype(">f4"))
np.save(d + "/struct.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))
]=])
    assert(os.execute(("%s '%s/x.py' '%s'"):format(python, dir, dir)))
    local values = {}
    for i = 1, 24 do values[i] = i - 1 end
    local x = pelk.tensor(values, {2, 3, 4})
    for _, name in ipairs {"plain", "packed"} do
      local z = assert(pelk.load(dir .. "/" .. name .. ".npz"))
      for _, key in ipairs {"c", "f", "half"} do assert.is_true(z[key]:equal(x), key) end
      assert.same(x:flat(), z.long:flat())
      assert.same({2, 2, 4}, z.strided:shape())
      assert.same({0, 2}, z.none:shape())
      assert.same({0, 0, 0, 0, 1}, {table.unpack(z.yes:flat(), 1, 5)})
      assert.equal(2.5, z.scalar:item())
    end
    assert.is_true(assert(pelk.load(dir .. "/fortran.npy")):equal(x))
    refuses("o: dtype |O: Python objects are never read", pelk.load(dir .. "/objects.npz"))
    refuses("dtype >f4, read are", pelk.load(dir .. "/big.npy"))
    refuses("several fields", pelk.load(dir .. "/struct.npy"))
  end)

  it("that cannot be saved says why", function()
    raises("must end in .safetensors, .npz or .npy", pelk.save, dir .. "/x.bin", pelk.ones {1})
    raises("holds one tensor, not 2", pelk.save, dir .. "/x.npy", {a = pelk.ones {1}, b = pelk.ones {1}})
    raises("holds no metadata", pelk.save, dir .. "/x.npz", {a = pelk.ones {1}}, {a = "b"})
    raises("cannot name an array", pelk.save, dir .. "/x.npz", {["\255"] = pelk.ones {1}})
    refuses("No such file", pelk.load(dir .. "/nothing.npy"))
  end)
end)

describe("a hostile array", function()
  local sixteen = string.pack("<ffff", 1, 2, 3, 4)
  for _, case in ipairs {
    {"of a shape past its bytes",
      npy(described("<f4", "False", "(65536, 65536)"), sixteen), "needs 17179869184 bytes, the file holds 16"},
    {"of a product past 64 bits",
      npy(described("<f4", "False", "(4294967296, 4294967296, 2)"), sixteen), "larger than any file"},
    {"empty, of an absurd shape",
      npy(described("<f4", "False", "(0, 4294967296, 4294967296)"), ""), "larger than any file"},
    {"with bytes left", npy(described("<f4", "False", "(3,)"), sixteen), "needs 12 bytes, the file holds 16"},
    {"of seven dimensions", npy(described("<f4", "False", "(1,1,1,1,1,1,4)"), sixteen), "more than 6 dimensions"},
    {"of a negative shape", npy(described("<f4", "False", "(-4,)"), sixteen), "tuple of whole numbers"},
    {"of a number as shape", npy(described("<f4", "False", "(4)"), sixteen), "tuple of whole numbers"},
    {"of a shape past 64 bits", npy(described("<f4", "False", "(99999999999999999999,)"), sixteen), "tuple of whole"},
    {"of objects", npy(described("|O", "False", "(4,)"), sixteen), "Python objects are never read"},
    {"of strings", npy(described("<U4", "False", "(1,)"), sixteen), "dtype <U4"},
    {"big-endian", npy(described(">f4", "False", "(4,)"), sixteen), "dtype >f4"},
    {"of code as a dictionary", npy("__import__('os').system('true')", sixteen), "not a dictionary"},
    {"of code in a dictionary",
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (f(),), }", sixteen), "whole numbers"},
    {"without a shape", npy("{'descr': '<f4', 'fortran_order': False, }", sixteen), "not a dictionary"},
    {"with two shapes",
      npy("{'shape': (4,), 'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", sixteen), "not a dictionary"},
    {"with an unknown field",
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'x': 1}", sixteen), "not a dictionary"},
    {"with text after the dictionary",
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), } x", sixteen), "not a dictionary"},
    {"of an order that is none", npy(described("<f4", "1", "(4,)"), sixteen), "neither True nor False"},
    {"of version 9", npy(described("<f4", "False", "(4,)"), sixteen, 9), "version 9.0"},
    {"with a header longer than the file", "\x93NUMPY\1\0\255\255{'descr'", "cut short"},
    {"with a header of 20000 bytes",
      npy(described("<f4", "False", "(4,)") .. (" "):rep(20000), sixteen), "at most 10000"},
    {"that ends at once", "\x93NUMPY", "too short"},
  } do
    it(case[1], function()
      local value, message = core.parse_file(case[2], "case")
      refuses(case[3], value, message)
      assert.equal("case: ", message:sub(1, 6))
    end)
  end
end)

describe("a hostile archive", function()
  local function of(edit, members) return zip(members or {{"a.npy", four}, {"b.npy", four}}, edit) end

  it("that is none of them is read", function()
    local got = assert(core.parse_file(of()))
    assert.same({1, 2, 3, 4}, got.b:flat())
    assert.equal(0, #assert(core.parse_file(zip {})))
  end)

  for _, case in ipairs {
    {"with a name twice", function(m) m.name = "a.npy" end, "occurs twice"},
    {"with two members in one place", function(m) m.central_at = 0 end, "not what the ZIP directory says"},
    {"with a member past the end",
      function(m, i) if i == 2 then m.central_at = 1 << 20 end end, "outside of the archive"},
    {"encrypted", function(m) m.flags = 1 end, "encrypted"},
    {"packed by another method", function(m) m.method = 12 end, "method 12"},
    {"with another name in the header", function(m) m.local_name = "x.npy" end, "not what the ZIP directory says"},
    {"with another size in the header", function(m) m.central_size, m.central_packed = 5, 5 end, "not what the ZIP"},
    {"with a wrong checksum", function(m) m.crc = 1 end, "checksum"},
    {"that is no array", function(m) m.name = "a.txt" .. m.at end, "not an array"},
    {"stored in fewer bytes than its size", function(m) m.size = 1 << 30 end, "cannot hold"},
    {"a bomb", function(m) m.method, m.size = 8, 0xfffffff0 end, "cannot hold"},
    {"of data that is not deflated", function(m) m.method = 8 end, "unpacks to less"},
    {"of a name with a zero", function(m) m.name = "a\0b" .. m.at end, "no text"},
    {"of a name that is not UTF-8", function(m) m.name = "\255" .. m.at end, "no text"},
    {"of ZIP64 sizes without the field",
      function(m) m.central_size, m.central_packed = 0xffffffff, 0xffffffff end, "."},
  } do
    it(case[1], function()
      local value, message = core.parse_file(of(case[2]), "case")
      refuses(case[3], value, message)
      assert.equal("case: ", message:sub(1, 6))
    end)
  end

  it("with ZIP64 sizes is read", function()
    local got = assert(core.parse_file(of(function(m)
      m.extra = string.pack("<I2I2I8I8", 1, 16, m.size, m.packed)
      m.central_size, m.central_packed = 0xffffffff, 0xffffffff
    end)))
    assert.same({1, 2, 3, 4}, got.b:flat())
    refuses("ZIP64 sizes", core.parse_file(of(function(m)
      m.extra = string.pack("<I2I2I8", 1, 8, m.size)
      m.central_size, m.central_packed = 0xffffffff, 0xffffffff
    end)))
    refuses("ZIP64 sizes", core.parse_file(of(function(m)
      m.extra = string.pack("<I2I2I8I8", 1, 16, -1, -1)
      m.central_size, m.central_packed = 0xffffffff, 0xffffffff
    end)))
  end)

  it("asks for no memory that it does not fill", function()
    collectgarbage()
    collectgarbage()
    core.reset_peak()
    local before = core.memory().peak
    for _, size in ipairs {1 << 20, 1 << 28, 0xfffffff0} do
      local big = npy(described("<f4", "False", ("(%d,)"):format((size - 128) // 4)), "")
      assert.is_nil((core.parse_file(big)))
      assert.is_nil((core.parse_file(of(function(m) m.size, m.packed = size, size end))))
      assert.is_nil((core.parse_file(of(function(m) m.method, m.size, m.packed = 8, size, size end))))
    end
    assert.truthy(core.memory().peak - before < 1 << 20)
  end)

  it("cut or changed anywhere is refused or gives the same arrays", function()
    local bytes = of()
    for n = 0, #bytes - 1 do
      local value, message = core.parse_file(bytes:sub(1, n))
      assert.is_nil(value)
      assert.is_string(message)
    end
    for at = 1, #bytes do
      local byte = bytes:byte(at)
      for _, flip in ipairs {1, 2, 4, 8, 16, 32, 64, 128, 255} do
        local got = core.parse_file(bytes:sub(1, at - 1) .. string.char(byte ~ flip) .. bytes:sub(at + 1))
        if type(got) == "table" then
          for _, t in pairs(got) do assert.same({1, 2, 3, 4}, t:flat()) end
        end
      end
    end
  end)

  it("with a failing allocation at any place leaves no memory behind", function()
    local bytes = of()
    local n = help.fail_allocations(core.parse_file, bytes)
    assert.truthy(n > 8 and n < 300)
  end)
end)
