-- The table of `make bench`: bench.lua PYTHON|none COMMIT CSV PATTERN THREADS...
-- Every time is a median; pelk, PyTorch and ONNX Runtime take turns, row by row, on the same machine in the same run.
local pelk = require("pelk")
local core = require("pelk.core")
local json = require("pelk.json")
local runtime = require("spec.onnx.runtime")
local work = require("spec.bench.work")

local python, commit, csv, pattern = arg[1], arg[2], arg[3], arg[4]
local MIN_RUNS, MAX_RUNS, SECONDS = 5, 100, 1.0

local onnx, why = runtime.find()
if not onnx then print("skipped: " .. why .. " (the comparison with ONNX Runtime)") end

-- Median seconds of f(), after a warm-up.
local function time(f)
  f()
  local list, began = {}, core.clock()
  while #list < MIN_RUNS or (#list < MAX_RUNS and core.clock() - began < SECONDS) do
    local t = core.clock()
    f()
    list[#list + 1] = core.clock() - t
  end
  return work.median(list)
end

-- The numbers that a command prints, or nothing.
local function numbers(command)
  local pipe = io.popen(command .. " 2>/dev/null")
  local text = pipe and pipe:read("a") or ""
  if pipe then pipe:close() end
  local found = {}
  for word in text:gmatch("%S+") do found[#found + 1] = tonumber(word) end
  return table.unpack(found)
end

-- Milliseconds and peak MiB of PyTorch for a row, or nothing.
local function torch(row, pass, threads)
  if python == "none" or not (row.peer or row.preset) then return nil end
  local case, file = row.peer, nil
  if row.preset then
    file = os.tmpname()
    local size = row[pass]
    local spec = pelk.models.create(row.preset, { in_channels = size[4] }):options()
    assert(core.write_file(file, json.encode({ spec = spec, size = { size[1], size[2], size[3] } })))
    case = "network:" .. file
  end
  local ms, mib = numbers(("%s spec/bench/peer.py '%s' %s %d"):format(python, case, pass, threads))
  if file then os.remove(file) end
  return ms, mib
end

-- Milliseconds of ONNX Runtime for a module's forward, or nil.
local function onnx_runtime(m, x, threads)
  if not onnx or x:dim() ~= 4 then return nil end
  local file, shape = os.tmpname(), x:shape()
  local written = pelk.export_onnx(m, file, { shape = { shape[2], shape[3], shape[4] }, dynamic_batch = shape[1] > 1 })
  local ms = written and numbers(("node spec/bench/runtime.js '%s' '%s' %d,%d,%d,%d %d"):format(runtime.home, file,
    shape[1], shape[4], shape[2], shape[3], threads))
  os.remove(file)
  return ms
end

-- ---- running ----

local function machine()
  for line in io.lines("/proc/cpuinfo") do
    local name = line:match("^model name%s*:%s*(.+)$")
    if name then return name end
  end
  return "unknown processor"
end

local function text(x, format) return x and format:format(x) or "" end

local config = core.config()
local out = assert(io.open(csv, "w"))
local about = ("%s, %d cores; pelk %s (%s), %s kernels, %s; commit %s; beside it: %s, %s"):format(machine(),
  config.cores, config.version, os.date("%Y-%m-%d"), config.isa, config.compiler, commit,
  python == "none" and "no PyTorch" or "PyTorch", onnx and "ONNX Runtime" or "no ONNX Runtime")
out:write("# ", about, "\n", "work,pass,threads,ms,gflops,share_of_fma_peak,torch_ms,torch_ratio,onnx_ms,onnx_ratio,",
  "mib,torch_mib,images_per_s\n")
print(about)
print(("%-38s %-9s %7s %9s %8s %5s %9s %7s %9s %7s %8s %7s %7s"):format("work", "pass", "threads", "ms", "GFLOP/s",
  "peak", "PyTorch", "ratio", "ONNX RT", "ratio", "images/s", "MiB", "PyTorch"))

local function run(row, pass, threads)
  local training = pass == "training"
  pelk.set_threads(threads)
  pelk.manual_seed(1)
  local step, m, x = row.make(training)
  local peak = core.peak_gflops() * threads
  local seconds = time(step)
  local flops = 2 * core.count(m, x:shape())[1].macs_run * (training and 3 or 1) -- backward: two more passes
  local gflops, ms = flops / seconds / 1e9, seconds * 1e3
  local theirs, their_mib = torch(row, pass, threads)
  local onnx_ms = not training and onnx_runtime(m, x, threads) or nil
  local mib
  if row.preset then mib = numbers(("%s spec/bench/memory.lua '%s' %s %d"):format(arg[-1], row.name, pass, threads)) end
  if not mib then their_mib = nil end
  local rate = row.preset and x:size(1) / seconds
  print(("%-38s %-9s %7d %9.3f %8.1f %4.0f%% %9s %7s %9s %7s %8s %7s %7s"):format(row.name,
    training and "training" or "forward", threads, ms, gflops, 100 * gflops / peak, text(theirs, "%.2f"),
    text(theirs and theirs / ms, "%.1fx"), text(onnx_ms, "%.2f"), text(onnx_ms and onnx_ms / ms, "%.1fx"),
    text(rate, "%.2f"), text(mib, "%.0f"), text(their_mib, "%.0f")))
  out:write(('"%s",%s,%d,%.4f,%.2f,%.4f,%s,%s,%s,%s,%s,%s,%s\n'):format(row.name, training and "training" or "forward",
    threads, ms, gflops, gflops / peak, text(theirs, "%.4f"), text(theirs and theirs / ms, "%.3f"),
    text(onnx_ms, "%.4f"), text(onnx_ms and onnx_ms / ms, "%.3f"), text(mib, "%.1f"), text(their_mib, "%.1f"),
    text(rate, "%.3f")))
  out:flush()
  collectgarbage()
end

for i = 5, #arg do
  for _, row in ipairs(work.rows) do
    for _, pass in ipairs({ "inference", "training" }) do
      if pattern == "" or row.name:find(pattern) then run(row, pass, tonumber(arg[i])) end
    end
  end
end
out:close()
print("the same as CSV: " .. csv)
