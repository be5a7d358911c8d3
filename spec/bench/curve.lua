-- Time against kernel size: curve.lua PYTHON|none CSV PNG. Peripheral convolution of one image of 96 channels on one
-- thread, for maps of 56, 28, 14 and 7 pixels a side; PyTorch's dense convolution beside it on the 56x56 map, for the
-- sizes that take it less than a quarter of a minute. examples/pictures/kernel_size.png is such a picture.
local pelk = require("pelk")
local core = require("pelk.core")

local python, csv, png = arg[1], arg[2], arg[3]
local CHANNELS, RADIUS = 96, 2
local kernels = { 3, 5, 7, 9, 13, 17, 21, 25, 31, 41, 51, 61, 71, 81, 101, 121, 151 }
local peers = { forward = { 3, 7, 13, 31, 51, 101 }, training = { 3, 7, 13, 31, 51 } }
local maps = { 56, 28, 14, 7 }

-- In processor time, as PyTorch's: one thread works, and other work on the machine does not count.
local function median_ms(f)
  f()
  local list, began = {}, os.clock()
  while #list < 7 or (#list < 100 and os.clock() - began < 0.12) do
    local t = os.clock()
    f()
    list[#list + 1] = (os.clock() - t) * 1e3
  end
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function measure(kernel, map)
  local layer = pelk.nn.PeripheralConv({ channels = CHANNELS, kernel = kernel,
    radius = math.min(RADIUS, kernel // 2), position_mode = "off" })
  local x = pelk.randn({ 1, map, map, CHANNELS })
  local g = pelk.randn({ 1, map, map, CHANNELS })
  local forward = median_ms(function() pelk.no_grad(function() layer(x):free() end) end)
  x:requires_grad_(true)
  local both = median_ms(function()
    layer:zero_grad()
    x:zero_grad()
    local y <close> = layer(x)
    y:backward(g)
  end)
  return forward, both
end

local function peer(kernel, mode)
  if python == "none" then return nil end
  local command = ("%s spec/bench/peer.py 'dense %dx%d' %s 1 cpu 2>/dev/null"):format(python, kernel, kernel, mode)
  local pipe = io.popen(command)
  local ms = pipe and tonumber((pipe:read("a"):match("%S+")))
  if pipe then pipe:close() end
  return ms
end

pelk.set_threads(1)
local out = assert(io.open(csv, "w"))
out:write(("# %d channels, one image, one thread, %s kernels, radius %d; median ms of processor time; %s\n"):format(
  CHANNELS, core.config().isa, RADIUS, os.date("%Y-%m-%d")))
out:write("kernel,map,forward,forward_backward,pytorch_forward,pytorch_forward_backward\n")
local series, theirs = {}, { forward = {}, both = {} }
for _, map in ipairs(maps) do
  series[map] = {}
  for _, kernel in ipairs(kernels) do
    local forward, both = measure(kernel, map)
    table.insert(series[map], { kernel, forward, both })
    print(("%3dx%-3d on %2dx%-2d  forward %8.3f ms, forward+backward %8.3f ms"):format(kernel, kernel, map, map,
      forward, both))
    out:write(("%d,%d,%.4f,%.4f,,\n"):format(kernel, map, forward, both))
  end
end
for _, kernel in ipairs(peers.forward) do
  local forward = peer(kernel, "inference")
  local both = kernel <= peers.training[#peers.training] and peer(kernel, "training") or nil
  if forward then
    theirs.forward[#theirs.forward + 1] = { kernel, forward }
    theirs.both[#theirs.both + 1] = both and { kernel, both }
    local written = both and ("%.4f"):format(both) or ""
    print(("%3dx%-3d on 56x56  PyTorch  forward %8.3f ms, forward+backward %s"):format(kernel, kernel, forward,
      both and written .. " ms" or "left out"))
    out:write(("%d,56,,,%.4f,%s\n"):format(kernel, forward, written))
  end
end
out:close()

-- ---- the picture ----

local function block(name, rows, column)
  local lines = { "$" .. name .. " << EOD" }
  for _, row in ipairs(rows) do lines[#lines + 1] = ("%d %.5f"):format(row[1], row[column]) end
  lines[#lines + 1] = "EOD"
  return table.concat(lines, "\n")
end

local script = { ([[set terminal pngcairo size 1200,520 font "sans,12"
set output "%s"
set multiplot layout 1,2 title "Depthwise convolution: 96 channels, one image, one thread, %s" font "sans,13"
set logscale xy
set xrange [2.7:170]
set grid ytics mytics xtics lc rgb "#cccccc", lc rgb "#eeeeee"
set xlabel "kernel side"
set ylabel "milliseconds"
set format y "%%g"
set xtics (3,5,7,13,21,31,51,71,101,151)
set border 3
set tics nomirror]]):format(png, core.config().isa) }
local colours = { [56] = "#1f4e79", [28] = "#2e86ab", [14] = "#6fb3b8", [7] = "#b5d5c5" }
for pass, column in pairs({ forward = 2, both = 3 }) do
  for _, map in ipairs(maps) do script[#script + 1] = block(pass .. map, series[map], column) end
  if #theirs[pass] > 0 then script[#script + 1] = block(pass .. "peer", theirs[pass], 2) end
end
for _, pass in ipairs({ "forward", "both" }) do
  local plots = {}
  for _, map in ipairs(maps) do
    local style = '$%s%d with linespoints lw 2 pt 7 ps 0.6 lc rgb "%s" title "pelk, peripheral, %dx%d map"'
    plots[#plots + 1] = style:format(pass, map, colours[map], map, map)
  end
  if #theirs[pass] > 0 then
    local style = '$%speer with linespoints lw 2 pt 5 dt 2 lc rgb "#d1495b" title "PyTorch, dense, 56x56 map"'
    plots[#plots + 1] = style:format(pass)
  end
  local highest = 0 -- room for the key above the curves
  for _, points in ipairs({ series[maps[1]], theirs[pass] }) do
    for _, point in ipairs(points) do
      highest = math.max(highest, points == theirs[pass] and point[2] or point[pass == "forward" and 2 or 3])
    end
  end
  script[#script + 1] = ('set title "%s"\nset key top left Left reverse\nset yrange [0.01:%g]\nplot %s'):format(
    pass == "forward" and "forward" or "forward + backward", 100 * highest, table.concat(plots, ", "))
end
local gnuplot = io.popen("gnuplot 2>&1", "w")
if not gnuplot or not gnuplot:write(table.concat(script, "\n"), "\n") or not gnuplot:close() then
  print("not drawn: gnuplot is not installed (apt-get install gnuplot-nox)")
  os.exit(0)
end
print("drawn: " .. png)
