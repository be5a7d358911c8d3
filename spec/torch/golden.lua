--- Writes spec/golden: what PyTorch gives for small networks of every architecture. From the root, where PyTorch is:
--   LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' LUA_CPATH='./build/?.so;;' lua5.4 spec/torch/golden.lua
local pelk = require("pelk")
local cases = require("spec.torch.cases")
local help = require("spec.help")
local jobs = require("spec.torch.jobs")

local python = assert(jobs.python(), "python3-torch is not installed")
os.execute("mkdir -p spec/golden")
local dirs, files = {}, {}
for _, case in ipairs(cases.golden) do
  for _, training in ipairs({ true, false }) do
    local m <close> = pelk.models.create(case[2])
    dirs[#dirs + 1] = jobs.prepare("Model", m:options(), case[3], training, true)
    files[#files + 1] = ("spec/golden/%s_%s.safetensors"):format(case[1], training and "training" or "eval")
  end
end
jobs.run(python, dirs)
for i, dir in ipairs(dirs) do
  help.write(files[i], help.read(dir .. "/result.safetensors"))
  help.remove(dir)
end
print(("%d files in spec/golden"):format(#files))
