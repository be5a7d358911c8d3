-- Runs on disks that are really full, and files that really may not grow: the kernel says no, not a shim of ours. And
-- what saving costs.
local core = require("pelk.core")
local help = require("spec.help")
local json = require("pelk.json")
local Trainer = require("pelk.train.trainer")

local folder

local script = [[
package.path = "./lua/?.lua;./lua/?/init.lua;./?.lua;" .. package.path
local dir, epochs = ...
local pelk = require("pelk")
pelk.set_threads(1)
pelk.manual_seed(1)
local x, labels = pelk.rand({ 24, 12, 12, 1 }), {}
for i = 1, 24 do labels[i] = i % 2 + 1 end
local set = pelk.data.tensors(x, pelk.tensor(labels, { 24 }, { dtype = "int32" }))
pelk.manual_seed(2)
local m = pelk.models.create("pelk_nano", { depths = { 1, 1 }, dims = { 8, 16 }, kernels = { 13, 7 }, num_classes = 2,
  drop_path = 0.3 })
local ok, message = pcall(pelk.train, { model = m, train = pelk.data.loader(set, { batch = 4, shuffle = true }),
  epochs = tonumber(epochs), seed = 4, progress = false, out = dir, resume = true, save_steps = 1, keep = 99,
  ema = { decay = 0.9 }, schedule = { kind = "cosine", total_steps = 99 } })
if not ok then
  io.stderr:write(message, "\n")
  os.exit(1)
end
]]

setup(function()
  folder = help.folder()
  help.write(folder .. "/train.lua", script)
end)
teardown(function() help.remove(folder) end)

-- Status and standard error of the training in a shell that was prepared.
local function train(dir, epochs, before)
  local shell = ("%s\nLUA_CPATH='%s' lua5.4 %s/train.lua %s %d 2>%s/err"):format(before or "", package.cpath, folder,
    dir, epochs, folder)
  local _, _, status = os.execute("sh " .. help.write(folder .. "/run.sh", shell))
  return status, help.read(folder .. "/err")
end

local function checkpoints(dir)
  local paths = {}
  for _, name in ipairs(help.names(dir .. "/checkpoints")) do
    assert.truthy(name:find("^%d+%.safetensors$"), "left behind: " .. name)
    paths[#paths + 1] = dir .. "/checkpoints/" .. name
  end
  table.sort(paths)
  return paths
end

local function same_end(a, b)
  for _, name in ipairs { "last", "last_ema" } do
    local ours = assert(core.load_tensors(("%s/%s.safetensors"):format(a, name)))
    for key, value in pairs(assert(core.load_tensors(("%s/%s.safetensors"):format(b, name)))) do
      assert(value:equal(ours[key]), key .. " differs")
    end
  end
end

describe("a file that may not grow", function()
  it("is reported, the checkpoints before are whole, and the run goes on to the same bits", function()
    local whole, dir = folder .. "/whole", folder .. "/limited"
    assert.are.equal(0, (train(whole, 2)))
    assert.are.equal(0, (train(dir, 1)))
    local before = {}
    for _, path in ipairs(checkpoints(dir)) do before[path] = help.read(path) end
    local status, said = train(dir, 2, "trap '' XFSZ\nulimit -f 8") -- blocks of 512 bytes; a checkpoint has 60 KB
    assert.are.equal(1, status)
    assert.truthy(said:find("File too large"), said)
    local paths = help.names(dir .. "/checkpoints")
    assert.truthy(#paths >= 6)
    for path, bytes in pairs(before) do assert(help.read(path) == bytes, path .. " changed") end
    assert.are.equal(0, (train(dir, 2)))
    same_end(whole, dir)
    checkpoints(dir) -- and nothing is left of what could not be written
  end)
end)

describe("a full disk", function()
  it("is reported, every checkpoint on it is whole, and the run goes on elsewhere to the same bits", function()
    if not os.execute("unshare -rm sh -c 'mount -t tmpfs -o size=64k none /mnt' 2>/dev/null") then
      print("skipped: this user may not mount a small disk (a run on a full disk)")
      return
    end
    local whole, dir = folder .. "/elsewhere", folder .. "/kept"
    assert.are.equal(0, (train(whole, 2)))
    -- the namespace is gone with its shell: what is on the disk is copied before
    local inner = help.write(folder .. "/inner.sh", ([[
mount -t tmpfs -o size=400k none /mnt || exit 98
LUA_CPATH='%s' lua5.4 %s/train.lua /mnt/run 2 2>%s/err
status=$?
cp -r /mnt/run %s
exit $status]]):format(package.cpath, folder, folder, dir))
    local _, _, status = os.execute("unshare -rm sh " .. inner)
    assert.are.equal(1, status)
    assert.truthy(help.read(folder .. "/err"):find("No space left on device"), help.read(folder .. "/err"))
    local newest = 0
    for _, path in ipairs(checkpoints(dir)) do
      local tensors, metadata = core.load_tensors(path)
      assert(tensors, metadata)
      newest = math.max(newest, json.decode(metadata.counters).updates)
    end
    assert.truthy(newest >= 2 and newest < 12, "newest checkpoint: update " .. newest)
    assert.are.equal(0, (train(dir, 2)))
    same_end(whole, dir)
  end)
end)

describe("saving", function()
  -- A trainer whose last save was some seconds ago and took some.
  local function trainer(ago, took, given)
    return setmetatable({ run = {}, o = { save_minutes = given.save_minutes or 0, save_steps = given.save_steps },
      saved = core.clock() - ago, save_seconds = took, saved_updates = 0, at = { updates = given.updates or 0 } },
      Trainer)
  end

  it("waits until it costs less than 3.5 % of the time", function()
    assert.is_false(trainer(28, 1, {}):save_is_due()) -- 1 / 28 > 0.035
    assert.is_true(trainer(29, 1, {}):save_is_due())
    assert.is_false(trainer(28, 1, {}):save_is_cheap())
    assert.is_true(trainer(29, 1, {}):save_is_cheap())
    assert.is_false(trainer(50, 0.01, { save_minutes = 1 }):save_is_due())
    assert.is_true(trainer(61, 0.01, { save_minutes = 1 }):save_is_due())
    assert.is_true(trainer(0, 9, { save_steps = 5, updates = 5 }):save_is_due()) -- as asked for
  end)
end)
