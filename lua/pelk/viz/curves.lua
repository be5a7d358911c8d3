-- Learning curves: loss on the left, accuracy on the right, training and evaluation in each.
local csv = require "pelk.csv"
local gnuplot = require "pelk.viz.gnuplot"
local options = require "pelk.options"

local quote = gnuplot.quote

-- ---- where the numbers come from ----

-- One curve: the title, what the column's name must hold, and how it is drawn.
local curves = {
  loss = { { "training", "^train.*loss" }, { "evaluation", "^eval.*loss", "^val.*loss", "^test.*loss" } },
  accuracy = { { "training", "^train.*top1", "^train.*acc" },
    { "evaluation", "^eval.*top1", "^val.*top1", "^test.*top1", "^eval.*acc", "^val.*acc", "^test.*acc" } },
}

local function find_column(rows, patterns)
  for i = 2, #patterns do
    for _, row in ipairs(rows) do
      for name, value in pairs(row) do
        if type(name) == "string" and name:find(patterns[i]) and type(value) == "number" then return name end
      end
    end
  end
end

local finite = options.is_finite

-- Points of a column as a block's lines, nil when there are none. percent: values up to 1 are parts.
local function points(rows, column, percent)
  local lines, most = {}, 0
  for _, row in ipairs(rows) do if finite(row[column]) then most = math.max(most, row[column]) end end
  local factor = percent and most <= 1 and 100 or 1
  for i, row in ipairs(rows) do
    if finite(row[column]) then
      lines[#lines + 1] = ("%.10g %.10g"):format(finite(row.epoch) and row.epoch or i, row[column] * factor)
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

-- ---- the script ----

local function panel(script, rows, kind, label)
  local plots = {}
  for i, curve in ipairs(curves[kind]) do
    local column = find_column(rows, curve)
    local block = column and points(rows, column, kind == "accuracy")
    if block then
      local name = ("$%s%d"):format(kind, i)
      script[#script + 1] = ("%s << EOD\n%s\nEOD"):format(name, block)
      plots[#plots + 1] = ("%s using 1:2 with linespoints linestyle %d title %s"):format(name, i, quote(curve[1]))
    end
  end
  if #plots == 0 then return 0 end
  script[#script + 1] = ("set key %s\nset ylabel %s\nplot %s"):format(kind == "loss" and "top right" or "bottom right",
    quote(label), table.concat(plots, ", "))
  return #plots
end

local head = [[
set encoding utf8
set terminal pngcairo size %d,%d font 'sans,11' background rgb 'white'
set output %s
set style line 1 linecolor rgb '#2c728e' linewidth 2 pointtype 7 pointsize %s
set style line 2 linecolor rgb '#e26952' linewidth 2 pointtype 7 pointsize %s
set border 3 linecolor rgb '#555555'
set tics nomirror textcolor rgb '#333333'
set grid linecolor rgb '#dddddd' linetype 1 linewidth 1
set key box linecolor rgb '#cccccc' opaque spacing 1.2 width 1
set xlabel 'epoch'
set autoscale xfix
set offsets graph 0.02, graph 0.02, graph 0.05, graph 0.05
set multiplot layout 1,2%s
]]

local function make_script(rows, out, o)
  local title = o.title and (" title " .. quote(o.title) .. " noenhanced font ',13'") or ""
  local size = #rows > 60 and "0.3" or "0.8"
  local script = { head:format(o.width, o.height, quote(out), size, size, title) }
  local drawn = panel(script, rows, "loss", "loss") + panel(script, rows, "accuracy", "accuracy, %")
  script[#script + 1] = "unset multiplot\nset output\n"
  return drawn > 0 and table.concat(script, "\n") or nil
end

local rules = {
  title = { "string" }, width = { "integer", 1200, 200 }, height = { "integer", 500, 150 },
}

-- curves(history, path, options): history is a list of rows ({epoch=, train_loss=, ...}) or the path of a CSV file with
-- such names. true, or nil, message.
return function(history, path, given)
  local o = options.read("viz.curves", given, rules)
  if type(path) ~= "string" or path == "" then error("viz.curves: wants the path of the picture", 2) end
  local rows = history
  if type(history) == "string" then
    local message
    rows, message = csv.read(history)
    if not rows then return nil, message end
  elseif type(history) ~= "table" then
    error("viz.curves: wants a history, or the path of a CSV file", 2)
  end
  for i, row in ipairs(rows) do
    if type(row) ~= "table" then error(("viz.curves: row %d of the history is no table"):format(i), 2) end
  end
  return gnuplot.draw(path, function(out)
    local script = make_script(rows, out, o)
    if script then return script end
    return nil, "no curves: no columns like train_loss, eval_loss, train_top1, eval_top1"
  end)
end
