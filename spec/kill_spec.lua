-- kill -9 at any moment: at most one interval is lost, and the end is the same to the last bit. All five families, with
-- masks, and with pictures that threads read.
local pelk = require("pelk")
local core = require("pelk.core")
local help = require "spec.help"

-- Every update is a line of DIR.steps when it is done, before the checkpoint that follows it.
local script = [[
package.path = "./lua/?.lua;./lua/?/init.lua;./?.lua;" .. package.path
local dir, name, pictures = ...
local pelk = require("pelk")
pelk.set_threads(1)
local t = pelk.data.transforms
local loader
if pictures then
  local set = assert(pelk.data.image_folder { root = pictures, split = "train" })
  loader = pelk.data.loader(set, { batch = 4, shuffle = true, workers = 2, transforms = { t.resize { size = 12 },
    t.random_crop { padding = 2 }, t.hflip {}, t.to_float() } })
else
  loader = pelk.data.loader(require("spec.help").spots(48, 1), { batch = 4, shuffle = true })
end
pelk.manual_seed(2)
local preset, options = table.unpack(require("spec.architectures")[name])
if pictures then options.in_channels = 3 end
pelk.train { model = pelk.models.create(preset, options), train = loader, epochs = 6, seed = 4, progress = false,
  out = dir, resume = true, save_steps = 1, keep = 2, ema = { decay = 0.9 },
  sparse = name == "slak" and { density = 0.5, init = "erk", update_every = 5, seed = 4 } or nil,
  callbacks = { step = function(info)
    local steps = assert(io.open(dir .. ".steps", "a"))
    steps:write(info.step, "\n")
    steps:close()
  end } }
]]

--- The updates that were done, some of them twice, and the last of them: 0, 0 before the first.
local function steps_of(dir)
  local count, last = 0, 0
  local steps = io.open(dir .. ".steps")
  for line in steps and steps:lines() or function() end do
    count, last = count + 1, math.tointeger(tonumber(line)) or last
  end
  if steps then steps:close() end
  return count, last
end

-- COMMAND DIR N SECONDS: kill it so many seconds after N updates are done; true when it ended by itself.
local killer = [[
(%s) & p=$!
until [ "$(cat '%s.steps' 2>/dev/null | wc -l)" -ge %d ]; do kill -0 $p 2>/dev/null || break; done
sleep %.3f
kill -9 $p 2>/dev/null
wait $p
]]

--- Kill a run `times` times at random moments and let it end, beside one that is left alone.
local function check(times, name, pictures)
  local folder = help.folder()
  local command = ("LUA_CPATH=%q exec lua5.4 %s %%s %s %s"):format(package.cpath,
    help.write(folder .. "/train.lua", script), name, pictures or "")
  assert(os.execute(command:format(folder .. "/whole")))
  local dir = folder .. "/killed"
  for _ = 1, times do
    local before = steps_of(dir)
    local path = help.write(folder .. "/kill.sh", killer:format(command:format(dir), dir, before + math.random(1, 5),
      0.01 * math.random()))
    assert.is_nil((os.execute(("sh '%s' 2>/dev/null"):format(path)))) -- it was killed
    local count, last = steps_of(dir)
    local kept = #help.checkpoints(dir) > 0 and select(2, help.state(dir)).updates or 0 -- whole, or state raises
    assert(count > before)
    assert(kept >= last - 1, ("update %d was done, the checkpoint has %d"):format(last, kept))
  end
  assert(os.execute(command:format(dir)))
  help.same_run(folder .. "/whole", dir)
  for _, left in ipairs(help.names(dir .. "/checkpoints")) do assert.falsy(left:find("^%.")) end
  help.remove(folder)
end

describe("kill -9 costs at most one interval, and the end is the same to the last bit:", function()
  setup(function() math.randomseed(20) end)

  local names = {}
  for name in pairs(require "spec.architectures") do names[#names + 1] = name end
  table.sort(names) -- the same kills for the same architecture every time
  for _, name in ipairs(names) do
    it(name, function() check(name == "pelk" and 6 or 3, name) end)
  end

  it("pictures that two threads read", function()
    local pictures = help.folder()
    pelk.manual_seed(1)
    for _, class in ipairs { "a", "b" } do
      assert(core.make_dir(("%s/train/%s"):format(pictures, class)))
      for i = 1, 12 do
        assert(pelk.viz.save_png(pelk.rand { 16, 20, 3 }, ("%s/train/%s/%d.png"):format(pictures, class, i)))
      end
    end
    check(3, "pelk", pictures)
    help.remove(pictures)
  end)
end)
