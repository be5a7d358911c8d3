-- The table of `make bench`: bench.lua PYTHON|none COMMIT CSV PATTERN THREADS...
-- Every row is a median; pelk and PyTorch take turns, row by row, on the same machine in the same run.
local pelk = require("pelk")
local core = require("pelk.core")

local python, commit, csv, pattern = arg[1], arg[2], arg[3], arg[4]
local MIN_RUNS, MAX_RUNS, SECONDS = 5, 100, 1.0

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

-- Median seconds of f(), after a warm-up.
local function time(f)
  f()
  local list, began = {}, core.clock()
  while #list < MIN_RUNS or (#list < MAX_RUNS and core.clock() - began < SECONDS) do
    local t = core.clock()
    f()
    list[#list + 1] = core.clock() - t
  end
  return median(list)
end

-- ---- the rows: a name the peer knows too, and what to run; made when its turn comes ----

local function layer(make, shape)
  return function(training)
    local m = make()
    local x = pelk.randn(shape)
    if not training then
      m:eval()
      return function() pelk.no_grad(function() m(x):free() end) end, m, x
    end
    x:requires_grad_(true)
    local y <close> = m(x)
    local g = pelk.randn(y:shape())
    return function()
      m:zero_grad()
      x:zero_grad()
      local out <close> = m(x)
      out:backward(g)
    end, m, x
  end
end

local function network(name, shape, overrides)
  return function(training)
    local m = pelk.models.create(name, overrides)
    local x = pelk.randn(shape)
    if not training then
      m:eval()
      return function() pelk.no_grad(function() m(x):free() end) end, m, x
    end
    local labels = {}
    for i = 1, shape[1] do labels[i] = (i - 1) % 10 + 1 end
    local y = pelk.tensor(labels, { shape[1] }, { dtype = "int32" })
    local opt = pelk.optim.adamw(m, { lr = 1e-4 })
    return function()
      opt:zero_grad()
      local loss <close> = pelk.ops.cross_entropy(m(x), y)
      loss:backward()
      opt:step()
    end, m, x
  end
end

local function peripheral(kernel)
  return layer(function()
    return pelk.nn.PeripheralConv({ channels = 96, kernel = kernel, position_mode = "off",
      radius = kernel == 51 and 2 or 3 })
  end, { 1, 56, 56, 96 })
end

local function dense(kernel)
  return layer(function() return pelk.nn.DepthwiseConv({ channels = 96, kernel = kernel, bias = false }) end,
    { 1, 56, 56, 96 })
end

local rows = {
  { "peripheral 51x51, 96 ch, 56x56", "dense 51x51", peripheral(51) },
  { "peripheral 101x101, 96 ch, 56x56", "dense 101x101", peripheral(101) },
  { "peripheral 151x151, 96 ch, 56x56", nil, peripheral(151) },
  { "depthwise 7x7, 96 ch, 56x56", "dense 7x7", dense(7) },
  { "depthwise 31x31, 96 ch, 56x56", "dense 31x31", dense(31) },
  { "linear 3136x124 -> 496", "linear", layer(function() return pelk.nn.Linear(124, 496) end, { 3136, 124 }) },
  { "pelk_nano, batch 128, 28x28", "pelk_nano", network("pelk_nano", { 128, 28, 28, 1 }), training_only = true },
  { "pelk_tiny, 224x224, batch 1 / 2", "pelk_tiny", network("pelk_tiny", { 1, 224, 224, 3 }),
    network("pelk_tiny", { 2, 224, 224, 3 }) },
  { "convnext_tiny, 224x224, batch 1 / 2", "convnext_tiny", network("convnext_tiny", { 1, 224, 224, 3 }),
    network("convnext_tiny", { 2, 224, 224, 3 }) },
}

-- ---- the peer ----

-- Milliseconds of PyTorch for a case, or nil.
local function peer(case, training, threads)
  if python == "none" or not case then return nil end
  local pipe = io.popen(("%s spec/bench/peer.py '%s' %s %d 2>/dev/null"):format(python, case,
    training and "training" or "inference", threads))
  local text = pipe and pipe:read("a") or ""
  if pipe then pipe:close() end
  return tonumber(text)
end

-- ---- running ----

local function machine()
  for line in io.lines("/proc/cpuinfo") do
    local name = line:match("^model name%s*:%s*(.+)$")
    if name then return name end
  end
  return "unknown processor"
end

local function number(x, format) return x and format:format(x) or "" end

local config = core.config()
local out = assert(io.open(csv, "w"))
local about = ("%s, %d cores; pelk %s (%s), %s kernels, %s; commit %s; peer: %s"):format(machine(), config.cores,
  config.version, os.date("%Y-%m-%d"), config.isa, config.compiler, commit, python == "none" and "none" or "PyTorch")
out:write("# ", about, "\nwork,pass,threads,ms,gflops,share_of_fma_peak,peer_ms,ratio\n")
print(about)
print(("%-38s %-9s %7s %9s %9s %6s %9s %7s"):format("work", "pass", "threads", "ms", "GFLOP/s", "peak", "PyTorch",
  "ratio"))

local function run(row, make, training, threads)
  pelk.set_threads(threads)
  pelk.manual_seed(1)
  local step, m, x = make(training)
  local peak = core.peak_gflops() * threads
  local seconds = time(step)
  local forward = core.profile(m, x:detach())[1].flops
  local gflops = forward * (training and 3 or 1) / seconds / 1e9 -- backward is two more passes of the same size
  local theirs = peer(row[2], training, threads)
  local pass = training and "training" or "forward"
  local ratio = theirs and theirs / (seconds * 1e3)
  print(("%-38s %-9s %7d %9.3f %9.1f %5.0f%% %9s %7s"):format(row[1], pass, threads, seconds * 1e3, gflops,
    100 * gflops / peak, number(theirs, "%.2f"), number(ratio, "%.1fx")))
  out:write(("\"%s\",%s,%d,%.4f,%.2f,%.4f,%s,%s\n"):format(row[1], pass, threads, seconds * 1e3, gflops, gflops / peak,
    number(theirs, "%.4f"), number(ratio, "%.3f")))
  out:flush()
  collectgarbage()
end

for i = 5, #arg do
  local threads = tonumber(arg[i])
  for _, row in ipairs(rows) do
    if pattern == "" or row[1]:find(pattern) then
      if not row.training_only then run(row, row[3], false, threads) end
      run(row, row[4] or row[3], true, threads)
    end
  end
end
out:close()
print("the same as CSV: " .. csv)
