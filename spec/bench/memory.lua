-- memory.lua NAME inference|training THREADS: the peak memory in MiB of a process that does this work a few times.
local pelk = require("pelk")
local work = require("spec.bench.work")

pelk.set_threads(tonumber(arg[3]))
local step = work.find(arg[1]).make(arg[2] == "training")
for _ = 1, 3 do step() end
for line in io.lines("/proc/self/status") do
  local kib = line:match("^VmHWM:%s+(%d+)")
  if kib then print(("%.1f"):format(kib / 1024)) end
end
