--- What several specs need: expected failures, and files in a folder of their own.
local assert = require "luassert"

local help = {}

--- for key, value in help.sorted(t): by key, so that what is drawn on the way is the same every time.
function help.sorted(t)
  local keys, i = {}, 0
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return function()
    i = i + 1
    return keys[i], t[keys[i]]
  end
end

--- Each number of a list is near that of another.
function help.near(want, got, tolerance)
  for i, v in ipairs(want) do assert.near(v, got[i], tolerance) end
end

--- f(...) raises a string that matches the pattern.
function help.raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok, "no error; expected one like " .. pattern)
  assert.is_string(message)
  assert.truthy(message:find(pattern), ("%q does not match %q"):format(message, pattern))
end

--- The results nil, message, with a message that matches: help.refuses("no such file", core.load_tensors(path)).
function help.refuses(pattern, value, message)
  assert.is_nil(value)
  assert.is_string(message)
  assert.truthy(message:find(pattern), ("%q does not match %q"):format(message, pattern))
end

--- The name of a new folder, which is made unless `absent`.
function help.folder(absent)
  local dir = os.tmpname()
  os.remove(dir)
  if not absent then assert(os.execute(("mkdir '%s'"):format(dir))) end
  return dir
end

function help.remove(dir) os.execute(("rm -rf '%s'"):format(dir)) end

function help.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  return bytes
end

function help.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  return path
end

--- A Python that has the module ("torch", "numpy"), or nil: Debian's may stand behind another one in the path.
function help.python(module)
  for _, python in ipairs({ "python3", "/usr/bin/python3" }) do
    local command = "env -u LD_PRELOAD " .. python -- the sanitizers are for us
    if os.execute(("%s -c 'import %s' >/dev/null 2>&1"):format(command, module)) then return command end
  end
end

--- The names in a folder, hidden ones too, or nil, message.
function help.names(dir)
  local names, message = require("pelk.core").list_dir(dir)
  for i, entry in ipairs(names or {}) do names[i] = entry[1] end
  return names, message
end

--- Do two modules hold the same values, to the bit? Else false and a name.
function help.same_state(a, b)
  local other = b:state_dict()
  for name, t in pairs(a:state_dict()) do
    if not t:equal(other[name]) then return false, name end
  end
  return true
end

--- Random parameters, moved by `step`, statistics that are not 0 and 1, gammas of a size that lets every block matter.
function help.randomise(m, step)
  local pelk = require("pelk")
  for name, t in help.sorted(m:state_dict()) do
    pelk.no_grad(function()
      if name:find("running_var") or name:find("gamma") or name:find("norm.*weight") or name:find("bn.*weight") then
        t:copy_(pelk.rand(t:shape()) + 0.5)
      else
        t:copy_(t + pelk.randn(t:shape()) * step)
      end
    end)
  end
  return m:eval()
end

--- n pictures 12x12 of two classes, told apart by where the bright spot is; picture `bad` is not a number.
function help.spots(n, seed, bad)
  local pelk = require("pelk")
  pelk.manual_seed(seed)
  local x, labels = pelk.rand({ n, 12, 12, 1 }), {}
  for i = 1, n do
    labels[i] = i % 2 + 1
    x[i]:narrow(1, labels[i] == 1 and 2 or 8, 3):fill_(3)
  end
  if bad then x[bad]:fill_(0 / 0) end
  return pelk.data.tensors(x, pelk.tensor(labels, { n }, { dtype = "int32" }))
end

--- The largest difference over b's largest value.
function help.apart(a, b) return (a - b):abs():max():item() / math.max(b:abs():max():item(), 1e-20) end

--- Calls f(...) with the first allocation failing for good, then the second, until it gives a value: no failure may
-- leave memory behind. Returns how many calls it took, at most 301.
function help.fail_allocations(f, ...)
  local core = require("pelk.core")
  local n, done = 0
  collectgarbage()
  collectgarbage()
  local before = core.memory().live
  repeat
    n = n + 1
    core._fail_alloc(n, true)
    local ok, value = pcall(f, ...)
    core._fail_alloc(0)
    done = ok and value ~= nil
    value = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(before, core.memory().live)
  until done or n > 300
  return n
end

-- ---- what a run leaves ----

--- Names of the checkpoints of a run, oldest first; not what a killed writer left.
function help.checkpoints(dir)
  local names = {}
  for _, name in ipairs(help.names(dir .. "/checkpoints") or {}) do
    if name:find("^%d+%.safetensors$") then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- The path of the newest one, and how many there are.
function help.newest(dir)
  local names = help.checkpoints(dir)
  return dir .. "/checkpoints/" .. names[#names], #names
end

--- Everything in it: weights, buffers, moments, averages; and the counters. Raises when it is not whole.
function help.state(dir)
  local core, json = require("pelk.core"), require("pelk.json")
  local tensors, metadata = assert(core.load_tensors((help.newest(dir))))
  return tensors, json.decode(metadata.counters)
end

--- Two runs came to the same end, to the last bit.
function help.same_run(a, b)
  local ours, at = help.state(a)
  local theirs, there = help.state(b)
  local n = 0
  for name, value in pairs(ours) do
    assert(value:equal(theirs[name]), name .. " differs")
    n = n + 1
  end
  assert(n > 5)
  assert.are.same(at.random, there.random)
  for _, key in ipairs({ "epoch", "batch", "updates", "batches_seen", "loss", "hits", "best", "ema_steps" }) do
    assert.are.same(at[key], there[key])
  end
end

return help
