-- Whole networks on all threads against one: threads.lua CSV THREADS. The two take turns, so that a machine that slows
-- down slows both; the ratio is the median of the turns'.
local core = require("pelk.core")
local pelk = require("pelk")
local work = require("spec.bench.work")

local csv, all = arg[1], math.tointeger(tonumber(arg[2]) or 1)
if all < 2 then
  print("skipped: one core (networks on all threads against one)")
  return
end
local ROUNDS, SECONDS = 7, 1.0 -- turns of each; a turn is as many steps as fit, one at least

local function seconds_a_step(step, threads, steps)
  pelk.set_threads(threads)
  local began = core.clock()
  for _ = 1, steps do step() end
  return (core.clock() - began) / steps
end

local function measure(step)
  local first = seconds_a_step(step, all, 1) -- makes what is made once
  local steps = math.max(1, math.floor(SECONDS / first))
  local ones, alls, ratios = {}, {}, {}
  for i = 1, ROUNDS do
    ones[i], alls[i] = seconds_a_step(step, 1, steps), seconds_a_step(step, all, steps)
    ratios[i] = ones[i] / alls[i]
  end
  return work.median(ones) * 1e3, work.median(alls) * 1e3, work.median(ratios)
end

local out = assert(io.open(csv, "w"))
out:write("network,pass,threads,ms_one,ms_all,ratio\n")
for _, row in ipairs(work.rows) do
  if row.preset then
    for _, pass in ipairs({ "inference", "training" }) do
      pelk.manual_seed(1)
      local one, many, ratio = measure((row.make(pass == "training")))
      print(("%-34s %-9s %9.1f ms on one thread %9.1f ms on %d  %5.2fx"):format(row.name, pass, one, many, all, ratio))
      out:write(("%s,%s,%d,%.3f,%.3f,%.4f\n"):format(row.preset, pass, all, one, many, ratio))
      collectgarbage()
    end
  end
end
out:close()
