-- Pictures a second on one core: decoding, random resized crop, rand_augment, the whole way; beside Pillow and
-- torchvision where they are installed, and beside what training PeLK-T takes. JPEG of 500x375, as ImageNet's are on
-- average, made by data.py.
--
--     lua5.4 spec/bench/data.lua PYTHON CSV
local core = require "pelk.core"
local data = require "pelk.data"

local python, csv = arg[1], arg[2]
local T = data.transforms
local dir = os.tmpname()
os.remove(dir)

local function finish()
  os.execute(("rm -rf '%s'"):format(dir))
end

if python == "none" then
  print("skipped: python3-pil is not installed (rates of the data loader: it makes the pictures)")
  return
end
assert(os.execute(("mkdir -p '%s/all' && %s spec/bench/data.py make '%s/all'"):format(dir, python, dir)))

local set = assert(data.image_folder { root = dir })
local crop = T.random_resized_crop { size = 224, interpolation = "bicubic" }
local augment = T.rand_augment("rand-m9-mstd0.5-inc1")
local normalize = T.normalize { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } }
local cases = {
  { "decode", { T.center_crop { size = { 375, 500 } } }, "uint8" },
  { "decode + random_resized_crop 224", { crop }, "uint8" },
  { "decode + random_resized_crop + hflip + rand_augment", { crop, T.hflip {}, augment }, "uint8" },
  { "all of the recipe to float32", { crop, T.hflip {}, augment, T.to_float(), normalize,
    T.random_erasing { mode = "pixel" } }, "float32" },
}

-- Best of three epochs.
local function rate(case, workers)
  local loader = data.loader(set,
    { batch = 16, shuffle = true, workers = workers, transforms = case[2], dtype = case[3] })
  local best = 0
  for _ = 1, 3 do
    local began, n = core.clock(), 0
    for x in loader() do n = n + x:size(1) end
    best = math.max(best, n / (core.clock() - began))
  end
  return best
end

-- Images a second of PeLK-T's training step at 224 on one core: the better of two, after one that is not counted.
local function training_rate()
  local optim, models = require "pelk.optim", require "pelk.models"
  local threads, batch, best = core.threads(), 4, 0
  core.set_threads(1)
  local model = models.create("pelk_tiny")
  local x, y = core.randn { batch, 224, 224, 3 }, core.randint(1, 1000, { batch }, { dtype = "int32" })
  local opt = optim.adamw(model)
  for i = 0, 2 do
    local began = core.clock()
    opt:zero_grad()
    core.ops.cross_entropy(model(x), y):backward()
    opt:step()
    if i > 0 then best = math.max(best, batch / (core.clock() - began)) end
  end
  core.set_threads(threads)
  return best
end

local peers = {}
local pipe = assert(io.popen(("%s spec/bench/data.py time '%s/all'"):format(python, dir)))
for line in pipe:lines() do
  local library, index, value = line:match("^(%S+) (%d+) (%S+)$")
  if library then
    peers[library] = peers[library] or {}
    peers[library][tonumber(index)] = tonumber(value)
  else
    print(line)
  end
end
pipe:close()

local file = assert(io.open(csv, "w"))
file:write("case,pelk_1,pillow,torchvision,pelk_all\n")
print(("%-54s %9s %9s %11s %14s"):format("pictures a second", "pelk", "Pillow", "torchvision",
  ("pelk, %d cores"):format(core.config().cores)))
local whole
local function cell(v) return v and ("%.0f"):format(v) or "-" end
for i, case in ipairs(cases) do
  local one, all = rate(case, 1), rate(case, core.config().cores)
  local pillow, vision = peers.pillow and peers.pillow[i], peers.torchvision and peers.torchvision[i]
  whole = one
  print(("%-54s %9s %9s %11s %14s"):format(case[1], cell(one), cell(pillow), cell(vision), cell(all)))
  file:write(('"%s",%s,%s,%s,%s\n'):format(case[1], cell(one), cell(pillow), cell(vision), cell(all)))
end
local training = training_rate()
print(("%-54s %9.1f   the loader feeds %.0f times that"):format("training step of PeLK-T at 224", training,
  whole / training))
file:write(('"training step of PeLK-T at 224",%.2f,,,\n'):format(training))
file:close()
finish()
