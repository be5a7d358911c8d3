-- PyTorch's files: read without PyTorch and without executing anything; what is not tensors is refused by name.

local pelk = require "pelk"
local core = require "pelk.core"

local help = require "spec.help"
local zip = require "spec.zip"
local read, raises, refuses = help.read, help.raises, help.refuses
local dir, python

setup(function() dir = help.folder() end)
teardown(function()
  core._fail_alloc(0)
  help.remove(dir)
end)

-- ---- pickles by hand ----

local function text(s) return "X" .. string.pack("<I4", #s) .. s end
local function int(n) return "J" .. string.pack("<i4", n) end
local function tuple(...) return "(" .. table.concat {...} .. "t" end
local function global(module, name) return ("c%s\n%s\n"):format(module, name) end
local function storage(key, n, kind)
  return tuple(text "storage", global("torch", kind or "FloatStorage"), text(key), text "cpu", int(n)) .. "Q"
end
local function tensor(store, offset, size, stride)
  return global("torch._utils", "_rebuild_tensor_v2")
    .. tuple(store, int(offset), size, stride, "\x89", global("collections", "OrderedDict") .. ")R") .. "R"
end
local function dict(...) return "}(" .. table.concat {...} .. "u" end

local four = string.pack("<ffff", 1, 2, 3, 4)

-- A file around a pickle, with storage 0 of four floats.
local function file(pickle, members)
  local all = {{"archive/data.pkl", "\x80\2" .. pickle .. "."}}
  for _, m in ipairs(members or {{"archive/data/0", four}}) do all[#all + 1] = m end
  return zip(all)
end

local good = dict(text "w", tensor(storage("0", 4), 0, tuple(int(2), int(2)), tuple(int(2), int(1))))

local function parse(bytes, key, opaque) return core.parse_file(bytes, "case", key, opaque) end

describe("PyTorch's files", function()
  it("kept here are read, new form and old", function()
    for _, name in ipairs {"tiny", "tiny_old"} do
      local d, metadata = assert(pelk.load("spec/golden/" .. name .. ".pth"))
      assert.same({{0, 1, 2}, {3, 4, 5}}, d.w:tolist())
      assert.same({{0, 3}, {1, 4}, {2, 5}}, d.wt:tolist())
      assert.same({1.5, -2}, d.half:flat())
      assert.equal(3, #d)
      assert.same({epoch = "3"}, metadata)
    end
  end)

  it("made by hand are read", function()
    local d = assert(parse(file(good)))
    assert.same({{1, 2}, {3, 4}}, d.w:tolist())
    local deflated = zip({{"archive/data.pkl", "\x80\2" .. good .. "."}, {"archive/data/0", four}})
    assert.same({1, 2, 3, 4}, assert(parse(deflated)).w:flat())
  end)

  describe("of PyTorch itself", function()
    local expected
    setup(function()
      python = help.python "torch"
      if not python then return print("skipped: python3-torch is not installed (files of torch.save)") end
      assert(os.execute(("%s spec/torch/make_pth.py '%s' 2>/dev/null"):format(python, dir)))
      expected = assert(pelk.load(dir .. "/expected.npz"))
    end)

    local function with_torch(name, f)
      it(name, function()
        if not python then return pending("python3-torch is not installed") end
        f()
      end)
    end

    with_torch("hold every type, stride and offset", function()
      for _, name in ipairs {"kinds", "kinds_old", "kinds4"} do
        for _, map in ipairs {false, true} do
          local d = assert(pelk.load(dir .. "/" .. name .. ".pth", {map = map}))
          assert.equal(18, #d)
          for key, t in pairs(d) do
            assert.same(expected[key]:shape(), t:shape(), key)
            assert.same(expected[key]:flat(), t:flat(), key)
          end
          assert.equal("int32", d.long:dtype())
          assert.equal("uint8", d.bool:dtype())
        end
      end
    end)

    with_torch("of a training run give the model, or the entry asked for", function()
      local path = dir .. "/checkpoint.pth"
      local d, metadata = assert(pelk.load(path))
      assert.same({"conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var",
        "bn.num_batches_tracked", "fc.weight", "fc.bias"}, (function()
        local names = {}
        for name in pairs(d) do names[#names + 1] = name end
        return names
      end)())
      assert.same({epoch = "299", arch = "net"}, metadata)
      for key, t in pairs(d) do
        if expected["net." .. key] then assert.is_true(t:equal(expected["net." .. key])) end
      end
      local ema = assert(pelk.load(path, {key = "model_ema"}))
      assert.is_true(ema["fc.bias"]:allclose(d["fc.bias"] + 1))
      local nested = assert(pelk.load(path, {key = "nested.state_dict"}))
      assert.same({0, 1}, nested.a:flat())
      assert.same({4, 5}, nested["b.1"]:flat())
      assert.is_true(assert(pelk.load(path, {key = "model.fc.bias"})).tensor:equal(d["fc.bias"]))
      refuses("no entry 'modell'; there are: model %(dict%), model_ema %(dict%), optimizer %(dict%), epoch %(int%), "
        .. "args %(argparse.Namespace%)", pelk.load(path, {key = "modell"}))
      refuses("holds no tensors but an object, argparse.Namespace", pelk.load(path, {key = "args"}))
    end)

    with_torch("that are lists, single tensors, empty or whole modules", function()
      local list = assert(pelk.load(dir .. "/list.pth"))
      assert.same({0, 1}, list["0"]:flat())
      assert.same({2}, list["1.0"]:flat())
      assert.same({3}, list["1.1.x"]:flat())
      assert.equal(24, assert(pelk.load(dir .. "/single.pth")).tensor:numel())
      refuses("holds no tensors; there are: lr %(int%)", pelk.load(dir .. "/empty.pth"))
      refuses("the pickle names __main__.Net, which tensors do not need: refused", pelk.load(dir .. "/module.pth"))
      local whole = {opaque = {"__main__.Net"}}
      refuses("an object, __main__.Net: save its state_dict", pelk.load(dir .. "/module.pth", whole))
    end)
  end)

  it("are told what cannot be asked", function()
    raises("unknown option 'keys', did you mean 'key'", pelk.load, "x.pth", {keys = "model"})
    pelk.save(dir .. "/x.npz", {x = pelk.ones {1}})
    raises("only PyTorch's files have entries", pelk.load, dir .. "/x.npz", {key = "x"})
    raises("opaque: a class must be a string", pelk.load, "spec/golden/tiny.pth", {opaque = {1}})
    for kind, pickle in pairs {int = int(5), tuple = tuple(int(1)), text = text "x", list = "](" .. int(1) .. "e"} do
      refuses("no entry 'model': .* no dict, but: " .. kind, parse(file(pickle), "model"))
    end
    refuses("no entry 'epoch.x': .* no dict", parse(file(dict(text "epoch", int(3))), "epoch.x"))
  end)
end)

describe("a hostile pickle", function()
  local marker = os.tmpname()
  os.remove(marker)

  local function call(module, name) return global(module, name) .. tuple(text("touch " .. marker)) .. "R" end

  for _, case in ipairs {
    {"that calls os.system", call("os", "system"), "names os.system, which tensors do not need: refused"},
    {"that calls posix.system beside the weights", dict(text "x", call("posix", "system")), "names posix.system"},
    {"that calls eval", call("builtins", "eval"), "names builtins.eval"},
    {"that calls __builtin__.exec", call("__builtin__", "exec"), "names __builtin__.exec"},
    {"that calls subprocess", call("subprocess", "Popen"), "names subprocess.Popen"},
    {"that loads another", call("torch.storage", "_load_from_bytes"), "names torch.storage._load_from_bytes"},
    {"that runs a string by NumPy", call("numpy.testing._private.utils", "runstring"), "names numpy.testing._private"},
    {"that gets attributes", call("builtins", "getattr"), "names builtins.getattr"},
    {"that hides behind a dot", call("numpy.os", "system"):gsub("numpy%.os", "numpyos"), "names numpyos.system"},
    {"with INST", "(" .. text "x" .. "ios\nsystem\n", "opcode INST, which tensors do not need"},
    {"with OBJ", "(" .. global("collections", "OrderedDict") .. "o", "opcode OBJ"},
    {"with PERSID", "Pabc\n", "opcode PERSID"},
    {"with EXT1", "\x82\1", "opcode EXT1"},
    {"with a text number", "I1\n", "opcode INT"},
    {"with a byte that is no opcode", "\xff", "byte 0xff is no opcode"},
    {"of protocol 0", "\x80\0N", "protocol 0, read are 2 to 5"},
    {"that ends in the middle", "X\255\255\255\127abc", "cut short"},
    {"that pops nothing", "R", "takes a value where none is"},
    {"without a mark", "t", "without the mark"},
    {"that recalls what is not there", "h\7", "recalls what it never stored"},
    {"that fills a number", int(1) .. text "a" .. int(2) .. "s", "fills a int as if it were a dict"},
    {"that fills a tensor",
      tensor(storage("0", 4), 0, tuple(), tuple()) .. text "a" .. int(2) .. "s", "fills a tensor"},
    {"that appends to a dict", "}" .. int(2) .. "a", "fills a dict as if it were a list"},
    {"with a key without a value", "}(" .. text "a" .. "u", "a key without a value"},
    {"that calls a number", int(1) .. ")R", "calls a int"},
    {"with a mark as a value", "(((tt", "."},
    {"that leaves two values", "NN", "more than one value"},
    {"that leaves none", "", "takes a value where none is"},
    {"of text that is not UTF-8", text "\255", "not UTF%-8"},
    {"with attributes for a number", int(1) .. "}b", "gives attributes to a int"},
    {"with a tensor of no storage",
      global("torch._utils", "_rebuild_tensor_v2") .. tuple(int(1)) .. "R", "storage, offset"},
    {"with a persistent id of another kind", tuple(text "module") .. "Q", "persistent id"},
    {"with a storage of complex numbers", storage("0", 4, "ComplexFloatStorage"), "ComplexFloatStorage, read are"},
    {"of a memo past memory", "Nr\255\255\255\127", "too many values"},
  } do
    it(case[1], function()
      local value, message = parse(file(case[2]))
      refuses(case[3], value, message)
      assert.equal("case: ", message:sub(1, 6))
      assert.is_nil(io.open(marker))
    end)
  end

  local store = storage("0", 4)
  local function sizes(...)
    local list = {}
    for i, n in ipairs {...} do list[i] = int(n) end
    return tuple(table.unpack(list))
  end
  for _, case in ipairs {
    {"past the end", tensor(store, 1, sizes(4), sizes(1)), "reach out of a storage of 4"},
    {"by its offset", tensor(store, 5, sizes(0), sizes(1)), "reach out of a storage of 4"},
    {"by its stride", tensor(store, 0, sizes(2, 2), sizes(3, 1)), "reach out of a storage of 4"},
    {"backwards", tensor(store, 3, sizes(2), sizes(-1)), "not whole numbers"},
    {"with a negative size", tensor(store, 0, sizes(-2), sizes(1)), "not whole numbers"},
    {"with a negative offset", tensor(store, -1, sizes(2), sizes(1)), "not whole numbers"},
    {"with fewer strides than sizes", tensor(store, 0, sizes(2, 2), sizes(1)), "not whole numbers"},
    {"of seven dimensions",
      tensor(store, 0, sizes(1, 1, 1, 1, 1, 1, 1), sizes(1, 1, 1, 1, 1, 1, 1)), "not whole numbers"},
    {"seen a thousand times", tensor(store, 0, sizes(1000, 4), sizes(0, 1)), "seen several times"},
    {"of a size past 64 bits",
      tensor(store, 0, sizes(2147483647, 2147483647, 2147483647), sizes(0, 0, 0)), "reach out"},
    {"of a storage larger than its data", tensor(storage("0", 5), 0, sizes(5), sizes(1)), "holds 16 bytes, its type"},
    {"of a storage smaller than its data", tensor(storage("0", 3), 0, sizes(3), sizes(1)), "holds 16 bytes, its type"},
    {"of a storage of another type", tensor(storage("0", 4, "DoubleStorage"), 0, sizes(4), sizes(1)), "holds 16 bytes"},
    {"of a storage that is not there", tensor(storage("../../x", 4), 0, sizes(4), sizes(1)), "no storage ../../x"},
  } do
    it("with a tensor " .. case[1], function()
      refuses(case[3], parse(file(dict(text "w", case[2]))))
    end)
  end

  it("with one storage of two types", function()
    refuses("two types or sizes", parse(file(dict(text "a", tensor(store, 0, sizes(4), sizes(1)), text "b",
      tensor(storage("0", 2, "DoubleStorage"), 0, sizes(2), sizes(1))))))
  end)

  it("that contains itself, or is wide beyond measure", function()
    refuses("nested deeper", parse(file("}q\0(" .. text "me" .. "h\0" .. "u")))
    local laughs = {"]q\0" .. tensor(store, 0, sizes(4), sizes(1)) .. "a"}
    for i = 1, 14 do
      laughs[#laughs + 1] = "]q" .. string.char(i) .. "(" .. ("h" .. string.char(i - 1)):rep(10) .. "e"
    end
    refuses("more than", parse(file("(" .. table.concat(laughs) .. "t")))
  end)

  it("passes over values of classes that are named, and says nothing was run", function()
    local evil = dict(text "w", tensor(store, 0, sizes(4), sizes(1)), text "x", call("my.lib", "Thing"))
    refuses("my.lib.Thing.*nothing was run.*opaque = {\"my.lib.Thing\"}", parse(file(evil)))
    for _, allowed in ipairs {"my.lib.Thing", "my.lib.*", "my.*"} do
      assert.same({1, 2, 3, 4}, assert(parse(file(evil), nil, {allowed})).w:flat())
    end
    assert.is_nil((parse(file(evil), nil, {"my.lib.Thin"})))
    assert.is_nil(io.open(marker))
  end)

  it("asks for little memory", function()
    collectgarbage()
    collectgarbage()
    core.reset_peak()
    local before = core.memory().peak
    local many = file(("N0"):rep(1 << 20) .. "N")
    assert.is_nil((parse(many)))
    assert.truthy(core.memory().peak - before < 2 * #many + (2 << 20))
    core.reset_peak()
    assert.is_nil((parse(file(("N"):rep(1 << 20)))))
    assert.truthy(core.memory().peak - before < 8 << 20)
  end)

  it("is refused bare", function()
    refuses("a bare pickle", parse("\x80\2}q\0X\3\0\0\0abcK\1s."))
  end)
end)

describe("a damaged file of PyTorch's", function()
  local function check(bytes, survived)
    for n = 0, #bytes - 1 do
      local value, message = parse(bytes:sub(1, n))
      assert.is_nil(value)
      assert.is_string(message)
    end
    for at = 1, #bytes do
      for bit = 0, 7 do
        local changed = bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1 << bit) .. bytes:sub(at + 1)
        local ok, value = pcall(parse, changed)
        assert.is_true(ok, value)
        if value then survived(value) end
      end
    end
  end

  it("in the new form never gives other values", function()
    check(read "spec/golden/tiny.pth", function(d)
      if d.w then assert.same({0, 1, 2, 3, 4, 5}, d.w:flat()) end
    end)
  end)

  it("in the old form, which has no checksums, never crashes", function()
    check(read "spec/golden/tiny_old.pth", function(d)
      for _, t in pairs(d) do t:clone() end
    end)
  end)

  it("with a failing allocation at any place leaves no memory behind", function()
    for _, name in ipairs {"tiny", "tiny_old"} do
      local bytes = read("spec/golden/" .. name .. ".pth")
      local n = help.fail_allocations(parse, bytes)
      assert.truthy(n > 8 and n < 300)
    end
  end)
end)
